//go:build e2e

package site

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// last lets what is broken stay so for a while, during which the crowd goes on.
func last(d time.Duration) { time.Sleep(d) } // which is what is measured

// A breakage is what befalls the site, and what comes of it.
type breakage struct {
	what  string
	do    func()
	dies  bool // a server of pages does, which may cut off what is on its way
	apart bool // pages that no cache has may fail meanwhile: there is no database for them
	figures
	orders int // that failed
}

// TestE2EBreakages breaks the site's parts under load, one by one and then at random, and
// writes a table of what came of it. FORETIER_SITE_TABLE names its file; FORETIER_SITE_RANDOM
// is how long the last part takes, 20 s without it, and FORETIER_SITE_SEED which it is.
func TestE2EBreakages(t *testing.T) {
	s := open(t)
	b := s.install()
	picture := s.upload(b, "picture")
	post := s.publish(b, "News", picture)
	orders := s.till()
	paths := []string{"/", "/feed/", "/hello-world/", post, "/wp-includes/css/dist/block-library/style.min.css", picture}
	s.warm(paths)
	if kept := s.kept("topics"); !strings.HasPrefix(kept, "VALUE topics ") {
		t.Errorf("memcached has %q of what pages keep there", kept)
	}
	c := s.crowd(paths...)

	all := []*breakage{
		{what: "nothing, for comparison", do: func() { last(5 * time.Second) }},
		{what: "SIGKILL of an application server", do: func() { s.kill(1, 3*time.Second) }, dies: true},
		{what: "SIGKILL of one in the middle of pages, small and large", do: func() { s.midPage(c) }, dies: true},
		{what: "SIGSTOP of an application server for 5 s", do: func() { s.pause(2, 5*time.Second) }},
		{what: "SIGKILL of the origin: admin is away", do: s.origin},
		{what: "an application server that answers 500", do: func() { s.replace(1, wrong) }, dies: true},
		{what: "one that answers garbage", do: func() { s.replace(1, garbage) }, dies: true},
		{what: "one that answers half a body", do: func() { s.replace(1, half) }, dies: true},
		{what: "one that answers a byte a second", do: func() { s.replace(1, dripping) }, dies: true},
		{what: "one whose PHP crashes 20 times a second", do: func() { s.crash(1, 3*time.Second) }, dies: true},
		{what: "one whose programs are copied by half", do: func() { s.halve(1, 2*time.Second) }},
		{what: "one whose pages wait 4 s for something", do: func() { s.hang(1, 4*time.Second) }},
		{what: "one whose disk is full: what is uploaded is not there", do: func() { s.noRoom(c, 2, func() string { return s.upload(b, "no-room") }) }},
		{what: "SIGKILL of the Redis of the gateways", do: func() { away(s.pages) }},
		{what: "SIGSTOP of it for 3 s", do: func() { silent(s.pages) }},
		{what: "SIGKILL of the Redis of PHP's sessions", do: func() { away(s.sessions) }},
		{what: "SIGKILL of memcached", do: func() { away(s.shared) }},
		{what: "SIGSTOP of memcached for 3 s", do: func() { silent(s.shared) }},
		{what: "half a certificate, by SIGHUP", do: s.halfCertificate},
		{what: "another certificate, by SIGHUP", do: s.renew},
		{what: "a backend less, and again, by SIGHUP", do: s.resize},
		{what: "SIGKILL of a gateway", do: func() { s.killGateway(c, orders) }, dies: true},
		{what: "SIGKILL of the primary, its replica promoted", do: func() { s.failover() }, apart: true},
		{what: "another gateway takes over, by SIGUSR2", do: s.upgrade},
	}
	lasts := 20 * time.Second
	if d, err := time.ParseDuration(os.Getenv("FORETIER_SITE_RANDOM")); err == nil {
		lasts = d
	}
	seed, err := strconv.ParseUint(os.Getenv("FORETIER_SITE_SEED"), 10, 64)
	if err != nil {
		seed = 1
	}
	all = append(all, &breakage{what: fmt.Sprintf("these at random for %v, seed %d", lasts, seed), do: func() { s.anything(c, lasts, rand.New(rand.NewPCG(seed, 0))) }, dies: true})

	c.take()
	orders.take()
	for _, x := range all {
		began := time.Now()
		x.do()
		s.settled(c)
		x.figures = c.take()
		var why string
		x.orders, why = orders.take()
		t.Logf("%s: %v, %d requests, %d failed, %d cut off, the slowest took %v; %d orders failed %s", x.what, time.Since(began).Round(time.Millisecond), x.asked, x.failed, x.cut, x.slowest.Round(time.Millisecond), x.orders, why)
		if !x.apart {
			x.why = append(x.why, x.rare...)
		}
		for _, why := range x.why {
			t.Errorf("%s: %s", x.what, why)
		}
		if x.cut > 0 && !x.dies {
			t.Errorf("%s: %d pages were cut off, of which no server died", x.what, x.cut)
		}
	}
	s.unseen()
	c.end()
	orders.end()
	c.fair()
	lost, acked := orders.lost(1)
	if len(lost) > 0 || acked < 50 {
		t.Errorf("of %d acknowledged orders %d are lost: %v", acked, len(lost), lost)
	}
	s.onlyAtTheOrigin()
	if file := os.Getenv("FORETIER_SITE_TABLE"); file != "" {
		if err := os.WriteFile(file, table(all, acked, len(lost)), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// kept returns how memcached answers for what has this name.
func (s *site) kept(name string) string {
	c := testkit.Dial(s.t, s.shared.Addr)
	defer c.Close()
	_, _ = io.WriteString(c, "get "+name+"\r\n")
	answer, _ := bufio.NewReader(c).ReadString('\n') // what came says it
	return answer
}

// table writes what came of the breakages.
func table(all []*breakage, acked, lost int) []byte {
	var b bytes.Buffer
	b.WriteString(`# What breaks, and what comes of it

Written by ` + "`make breakages`" + `: [a WordPress on three Apaches](../examples/site/README.md) behind two
gateways, with MariaDB and a replica, Redis for sessions and for the gateways, memcached for what pages
share, and a crowd of 32 anonymous visitors, each with an address of his own, who ask for pages,
pictures and, one time in ten, for a page that no cache has. Two tills send orders, each once. Failed is what was no answer, or one
of 400 and more. Cut off is what broke in the middle: its server died when more had gone out than is
held. An order that was refused is known to have been; it is not sent again by itself.

`)
	fmt.Fprintf(&b, "| what breaks | requests | failed | cut off | slowest | orders refused |\n|---|---|---|---|---|---|\n")
	for _, x := range all {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %v | %d |\n", x.what, x.asked, x.failed, x.cut, x.slowest.Round(10*time.Millisecond), x.orders)
	}
	b.WriteString("\nWhile there is no primary, pages that no cache has fail: WordPress has no database then.\n")
	b.WriteString("A page that PHP itself gives up in the middle, out of memory, ends like a whole one: nobody in front can know.\n")
	fmt.Fprintf(&b, "Of %d acknowledged orders %d were lost.\n", acked, lost)
	return b.Bytes()
}

// warm asks both gateways for the pages, so that they are stored.
func (s *site) warm(paths []string) {
	for gateway := range s.gateways {
		c := s.client(gateway, true)
		for _, path := range paths {
			if res, _, err := get(c, path); err != nil || res.StatusCode != 200 {
				s.t.Fatalf("%s at gateway %d: %v", path, gateway, err)
			}
		}
	}
}

// settled waits until everything is as before: both gateways serve what no cache has, the
// origin its login, all servers are known to be back, and what the crowd was waiting for has
// come: whatever breaks next is the only one that a request meets. A server that has failed
// again and again is left out for 72 s at most (health.Outlier).
func (s *site) settled(c *crowd) {
	s.t.Helper()
	for gateway := range s.gateways {
		by := s.client(gateway, false)
		testkit.Within(s.t, 2*time.Minute, "the site is whole again", func() bool {
			for _, path := range []string{"/?whole=" + strconv.Itoa(rand.Int()), "/wp-login.php"} {
				if res, _, err := get(by, path); err != nil || res.StatusCode != 200 {
					return false
				}
			}
			return s.whole(gateway)
		})
	}
	c.over()
}

// part is one of what a status page shows.
type part struct {
	Kind, State string
	Parts       []part
}

// whole reports whether a gateway takes all servers for well.
func (s *site) whole(gateway int) bool {
	res, err := http.Get("http://" + s.status[gateway] + "/status.json")
	if err != nil {
		return false
	}
	defer res.Body.Close()
	var tier part
	return json.NewDecoder(res.Body).Decode(&tier) == nil && len(tier.Parts) > 0 && tier.well()
}

func (p *part) well() bool {
	if p.Kind == "backend" && p.State != "up" {
		return false
	}
	for _, below := range p.Parts {
		if !below.well() {
			return false
		}
	}
	return true
}

// away kills a server, which is back after three seconds, and silent stops it for as long.
func away(server *servertest.Server) {
	server.Kill()
	last(3 * time.Second)
	server.Restart()
}

func silent(server *servertest.Server) {
	server.Pause()
	last(3 * time.Second)
	server.Resume()
}

func (s *site) kill(web int, away time.Duration) {
	s.web[web].Kill()
	last(away)
	s.web[web].Restart()
}

// pause stops all processes of a server, not only the one that listens.
func (s *site) pause(web int, away time.Duration) {
	group := -s.web[web].PID()
	_ = syscall.Kill(group, syscall.SIGSTOP) // it may have ended
	last(away)
	_ = syscall.Kill(group, syscall.SIGCONT)
}

// origin kills the origin: admin is answered by nobody else, and is back within five
// seconds once it is.
func (s *site) origin() {
	const back = 5 * time.Second
	s.web[0].Kill()
	c := s.client(0, false)
	for range 10 {
		if res, _, err := get(c, "/wp-login.php"); err == nil && res.StatusCode < 500 {
			s.t.Errorf("admin is answered %s without the origin", res.Status)
		}
		last(200 * time.Millisecond)
	}
	s.web[0].Restart()
	began := time.Now()
	testkit.Within(s.t, 30*time.Second, "admin is back", func() bool {
		res, _, err := get(c, "/wp-login.php")
		return err == nil && res.StatusCode == 200
	})
	if took := time.Since(began); took > back {
		s.t.Errorf("admin is back after %v only", took)
	}
}

// replace has something else answer in place of an application server, and then ends it
// with its connections, as a process ends.
func (s *site) replace(web int, serve func(net.Conn)) {
	w := s.web[web]
	w.Kill()
	l, err := net.Listen("tcp", w.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	var conns []net.Conn
	var accepting, serving sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed below
			}
			conns = append(conns, c)
			serving.Go(func() { defer c.Close(); serve(c) })
		}
	})
	last(4 * time.Second)
	l.Close()
	accepting.Wait()
	for _, c := range conns {
		c.Close()
	}
	serving.Wait()
	testkit.Within(s.t, testkit.Patience, "the port is free again", func() bool {
		again, err := net.Listen("tcp", w.Addr)
		return err == nil && again.Close() == nil
	})
	w.Restart()
}

// heads reads the heads of requests, and calls f for each.
func heads(c net.Conn, f func() bool) {
	buf := make([]byte, 64<<10)
	for {
		if n, err := c.Read(buf); err != nil || n == 0 || !f() {
			return
		}
	}
}

func wrong(c net.Conn) {
	heads(c, func() bool {
		_, err := io.WriteString(c, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\n\r\nwrong")
		return err == nil
	})
}

func garbage(c net.Conn) {
	heads(c, func() bool { _, _ = io.WriteString(c, "\x00\xffgarbage\r\n\r\n"); return false })
}

func half(c net.Conn) {
	heads(c, func() bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1000\r\n\r\n<html>half of it")
		return false
	})
}

func dripping(c net.Conn) {
	heads(c, func() bool {
		for _, b := range []byte("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + strings.Repeat("x", 1000)) {
			if _, err := c.Write([]byte{b}); err != nil {
				return false
			}
			last(time.Second)
		}
		return true
	})
}

// hangUp has both gateways read their files again.
func (s *site) hangUp() {
	for _, g := range s.gateways {
		if err := syscall.Kill(g.PID(), syscall.SIGHUP); err != nil {
			s.t.Fatal(err)
		}
	}
}

// shown returns the certificate that a gateway shows to who comes now, or nil.
func (s *site) shown(g *servertest.Server) []byte {
	c, err := tls.Dial("tcp", g.Addr, &tls.Config{RootCAs: s.authority.Pool, ServerName: host})
	if err != nil {
		return nil
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].Raw
}

// renew changes the certificate: the next handshake has it.
func (s *site) renew() {
	pair := s.authority.Issue(s.t, host, itself, strings.ToLower(itself))
	testkit.Files(s.t, s.dir, "site", pair)
	s.hangUp()
	for _, g := range s.gateways {
		testkit.Within(s.t, testkit.Patience, "the new certificate", func() bool { return bytes.Equal(s.shown(g), pair.Certificate[0]) })
	}
}

// halfCertificate has the gateways read a certificate that somebody still writes: they say
// so, and show the one they have.
func (s *site) halfCertificate() {
	cert := filepath.Join(s.dir, "site.crt")
	whole, err := os.ReadFile(cert)
	if err != nil {
		s.t.Fatal(err)
	}
	before := s.shown(s.gateways[0])
	s.write("site.crt", string(whole[:len(whole)/2]))
	s.hangUp()
	for _, g := range s.gateways {
		testkit.Within(s.t, testkit.Patience, "the gateway says that it is half a certificate", func() bool { return strings.Contains(g.Output(), cert) })
		if got := s.shown(g); got == nil || !bytes.Equal(got, before) {
			s.t.Errorf("with half a certificate %s shows another, or none: %d bytes", g.Addr, len(got))
		}
	}
	s.write("site.crt", string(whole))
	s.hangUp()
}

// resize takes a backend out of the file, and puts it back.
func (s *site) resize() {
	change := func(text string, words string) {
		next := s.write("backends.next", text)
		if err := os.Rename(next, filepath.Join(s.dir, "backends")); err != nil {
			s.t.Fatal(err)
		}
		for _, g := range s.gateways {
			before := strings.Count(g.Output(), words)
			if err := syscall.Kill(g.PID(), syscall.SIGHUP); err != nil {
				s.t.Fatal(err)
			}
			testkit.Within(s.t, testkit.Patience, words, func() bool { return strings.Count(g.Output(), words) > before })
		}
	}
	both := s.web[1].url() + "\n" + s.web[2].url() + "\n"
	change(s.web[1].url()+"\n", `what="1 backend`)
	last(2 * time.Second)
	change(both, `what="2 backends`)
	last(time.Second)
}

// killGateway kills one of the gateways: what was in flight there is lost, and whoever is
// in front of both asks the other.
func (s *site) killGateway(c *crowd, orders *till) {
	c.shun(1, true)
	orders.shun(1, true)
	s.gateways[1].Kill()
	last(3 * time.Second)
	s.gateways[1].Restart()
	c.shun(1, false)
	orders.shun(1, false)
}

// failover kills the primary and promotes its replica, as an operator would.
func (s *site) failover() {
	s.db[0].Kill()
	s.exec(1, "STOP REPLICA IO_THREAD")
	testkit.Within(s.t, testkit.Patience, "the replica has applied what it has", func() bool {
		return s.ask(1, "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Slave has read all relay log%'") == "1"
	})
	s.exec(1, "STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL read_only = 0")
}

// upgrade has another process take over a gateway's sockets.
func (s *site) upgrade() {
	g := s.gateways[0]
	group := -g.PID()
	s.t.Cleanup(func() { _ = syscall.Kill(group, syscall.SIGKILL) }) // those that follow are in it
	if err := syscall.Kill(g.PID(), syscall.SIGUSR2); err != nil {
		s.t.Fatal(err)
	}
	testkit.Within(s.t, 30*time.Second, "another gateway has taken over", func() bool {
		return strings.Contains(g.Output(), "this gateway has taken over")
	})
	last(2 * time.Second)
}

// anything breaks something again and again, of what mends itself.
func (s *site) anything(c *crowd, lasts time.Duration, r *rand.Rand) {
	ctx, stop := context.WithTimeout(context.Background(), lasts)
	defer stop()
	for ctx.Err() == nil {
		while := time.Duration(500+r.IntN(2500)) * time.Millisecond
		web := 1 + r.IntN(2)
		stored := []*servertest.Server{s.pages, s.sessions, s.shared}[r.IntN(3)]
		switch r.IntN(10) {
		case 0:
			s.kill(web, while)
		case 1:
			s.pause(web, while)
		case 2:
			s.replace(web, []func(net.Conn){wrong, garbage, half}[r.IntN(3)])
		case 3:
			stored.Kill()
			last(while)
			stored.Restart()
		case 4:
			stored.Pause()
			last(while)
			stored.Resume()
		case 5:
			s.kill(0, while)
		case 6:
			s.midPage(c)
		case 7:
			s.crash(web, while)
		case 8:
			s.halve(web, while)
		case 9:
			free := s.web[2].fill(s.t)
			last(while)
			free()
		}
		s.settled(c)
	}
}
