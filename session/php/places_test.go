package php_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/session/php"
)

// sessions has PHP make n sessions that hold their id, and returns the ids.
func sessions(t *testing.T, ini map[string]string, n int) (ids []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(run(t, ini, fmt.Sprintf(`
		$ids = [];
		for ($i = 0; $i < %d; $i++) {
			session_id(bin2hex(random_bytes(16))); session_start();
			$_SESSION["id"] = $ids[] = session_id(); session_write_close();
		}
		echo json_encode($ids);`, n))), &ids); err != nil {
		t.Fatal(err)
	}
	return ids
}

// TestRedisServers: of several servers in save_path, with weights, each session
// is found where phpredis put it, and elsewhere if servers are said in another
// order.
func TestRedisServers(t *testing.T) {
	var path []string
	var servers []php.RedisServer
	var clients []*redis.Client
	for i, said := range []string{"weight=1", "weight=3&prefix=shop:", "prefix=&weight=2"} {
		server := servertest.Redis(t)
		client := redis.NewClient(&redis.Options{Addr: server.Addr})
		defer client.Close()
		path = append(path, "tcp://"+server.Addr+"?"+said)
		clients = append(clients, client)
		servers = append(servers, php.RedisServer{Client: client, Weight: []int{0, 3, 2}[i], Prefix: []string{"", "shop:", php.NoPrefix}[i]})
	}
	ids := sessions(t, map[string]string{"session.save_handler": "redis", "session.save_path": `"` + strings.Join(path, ", ") + `"`}, 300)
	looked := func() (n int) {
		for _, client := range clients {
			info := client.Info(t.Context(), "commandstats").Val()
			_, after, _ := strings.Cut(info, "cmdstat_getrange:calls=")
			count, _, _ := strings.Cut(after, ",")
			calls, _ := strconv.Atoi(count)
			n += calls
		}
		return n
	}
	find := func(servers []php.RedisServer) (looks int) {
		before := looked()
		source, err := php.RedisServers(servers...)
		if err != nil {
			t.Fatal(err)
		}
		p := reader(t, source)
		for _, id := range ids {
			if v, err := p.Peek(visitor(id)); err != nil || v["id"] != id {
				t.Fatalf("%s: got %v, %v", id, v, err)
			}
		}
		looks = looked() - before
		if v, err := p.Peek(visitor(strings.Repeat("x", 30))); err != nil || v != nil {
			t.Errorf("one that is nowhere: %v, %v", v, err)
		}
		return looks
	}
	if n := find(servers); n != len(ids) {
		t.Errorf("%d looks for %d sessions: not where phpredis puts them", n, len(ids))
	}
	servers[0], servers[1] = servers[1], servers[0]
	if n := find(servers); n <= len(ids) {
		t.Errorf("%d looks in another order", n)
	}
	if _, err := php.RedisServers(); err == nil {
		t.Error("no servers: no error")
	}
	if _, err := php.RedisServers(php.RedisServer{}); err == nil {
		t.Error("no client: no error")
	}
}

// TestMemcachedSettings: whatever php.ini says of the prefix and of how sessions
// are spread, they are found.
func TestMemcachedSettings(t *testing.T) {
	var servers, weighted []string
	for i := range 3 {
		servers = append(servers, servertest.Memcached(t).Addr)
		weighted = append(weighted, servers[i]+":"+strconv.Itoa(i+1))
	}
	cases := map[string]struct {
		prefix  string
		servers []string
		ini     map[string]string
	}{
		"as it is":          {"", servers, nil},
		"a prefix":          {"shop.", servers, map[string]string{"memcached.sess_prefix": "shop."}},
		"an empty prefix":   {php.NoPrefix, servers, map[string]string{"memcached.sess_prefix": `""`}},
		"by modulo":         {"", servers, map[string]string{"memcached.sess_consistent_hash": "0"}},
		"by weight":         {"", weighted, map[string]string{"memcached.sess_consistent_hash_type": "ketama_weighted"}},
		"weights, not used": {"", weighted, nil},
		"text protocol":     {"", servers, map[string]string{"memcached.sess_binary_protocol": "0"}},
		"another order":     {"", []string{servers[2], servers[0], servers[1]}, nil},
		"on one of them":    {"", servers, map[string]string{"session.save_path": `"` + servers[1] + `"`}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := c.servers
			if name == "another order" {
				path = servers
			}
			ini := map[string]string{"session.save_handler": "memcached", "session.save_path": `"` + strings.Join(path, ",") + `"`}
			for k, v := range c.ini {
				ini[k] = v
			}
			source, err := php.MemcachedPrefix(c.prefix, c.servers...)
			if err != nil {
				t.Fatal(err)
			}
			p := reader(t, source)
			for _, id := range sessions(t, ini, 100) {
				if v, err := p.Peek(visitor(id)); err != nil || v["id"] != id {
					t.Fatalf("%s: got %v, %v", id, v, err)
				}
			}
			if v, err := p.Peek(visitor(strings.Repeat("x", 30))); err != nil || v != nil {
				t.Errorf("one that is nowhere: %v, %v", v, err)
			}
		})
	}
	t.Run("a socket", func(t *testing.T) {
		dir, err := os.MkdirTemp("", "m") // a socket's path is short
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		l, err := net.Listen("unix", filepath.Join(dir, "s"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		asked := make(chan string, 1)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			b := make([]byte, 300)
			n, _ := conn.Read(b)
			asked <- string(b[:n])
			_, _ = io.WriteString(conn, "END\r\n")
		}()
		source, err := php.Memcached(filepath.Join(dir, "s"))
		if err != nil {
			t.Fatal(err)
		}
		if v, err := reader(t, source).Peek(visitor(sid)); err != nil || v != nil {
			t.Errorf("got %v, %v", v, err)
		}
		if got := <-asked; !strings.Contains(got, "memc.sess.key."+sid) {
			t.Errorf("asked %q", got)
		}
	})
	for _, bad := range [][]string{{"", "localhost:11211:x"}, {"", "::1:11211:1"}, {"a b", "localhost:11211"}, {strings.Repeat("p", 200), "localhost:11211"}} {
		if _, err := php.MemcachedPrefix(bad[0], bad[1]); err == nil {
			t.Errorf("%.20q: no error", bad)
		}
	}
}

// TestOneVisitorsSession: however often one visitor asks whose session cannot be
// read, or sends an id that no store takes, the others are who they are.
func TestOneVisitorsSession(t *testing.T) {
	server, cached := servertest.Redis(t), servertest.Memcached(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	items := memcache.New(cached.Addr)
	defer items.Close()
	const member, guest = "mmmmmmmmmmmmmmmmmmmmmmmm", "gggggggggggggggggggggggg"
	const list, noise, huge = "llllllllllllllllllllllll", "nnnnnnnnnnnnnnnnnnnnnnnn", "hhhhhhhhhhhhhhhhhhhhhhhh"
	for id, data := range map[string]string{member: "user|i:1;", guest: "lang|s:2:\"de\";", noise: ":zz:noise", huge: strings.Repeat("a", 1<<20-100)} {
		if err := errors.Join(client.Set(t.Context(), "PHPREDIS_SESSION:"+id, data, 0).Err(), client.HSet(t.Context(), "sess_"+id, "data", data).Err(),
			items.Set(&memcache.Item{Key: "memc.sess.key." + id, Value: []byte(data)})); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(client.LPush(t.Context(), "PHPREDIS_SESSION:"+list, "a").Err(), client.Set(t.Context(), "sess_"+list, "a", 0).Err()); err != nil {
		t.Fatal(err)
	}
	inMemcached, err := php.Memcached(cached.Addr)
	if err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]php.Source{"redis": php.Redis(client, ""), "magento": php.Magento(client), "memcached": inMemcached} {
		for _, id := range []string{noise, list, huge, strings.Repeat("a", 256)} {
			p := reader(t, source)
			for range 60 {
				unknown := id == noise || id == huge || id == list && name != "memcached" || len(id) == 256 && name == "memcached"
				if got := p.Has("user")(visitor(id)); got != unknown {
					t.Fatalf("%s, %.4s: logged in: %t", name, id, got)
				}
			}
			if !p.Has("user")(visitor(member)) || p.Has("user")(visitor(guest)) {
				t.Errorf("%s: after 60 looks of one visitor with %.4s, others are not who they are", name, id)
			}
			if r := p.Report(); r.State != health.Up {
				t.Errorf("%s, %.4s: %v, %s", name, id, r.State, r.Why)
			}
		}
	}
}

// TestElsewhere: where some sessions are not to be looked at, a visitor whose
// session is not found counts as logged in.
func TestElsewhere(t *testing.T) {
	for elsewhere, want := range map[bool]bool{false: false, true: true} {
		p, err := php.New(&one{err: php.ErrNotFound}, php.Options{Elsewhere: elsewhere, Logger: discard})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Has("user")(visitor(sid)); got != want {
			t.Errorf("%t: logged in: %t", elsewhere, got)
		}
		if _, err := p.Peek(visitor(sid)); errors.Is(err, php.ErrNotFound) != want {
			t.Errorf("%t: %v", elsewhere, err)
		}
		if p.Has("user")(httptest.NewRequest("GET", "/", nil)) {
			t.Errorf("%t: without a cookie, logged in", elsewhere)
		}
	}
}

// TestNothingWasEverThere is likely the wrong place, and is told once.
func TestNothingWasEverThere(t *testing.T) {
	var b bytes.Buffer
	source := &one{err: php.ErrNotFound}
	p, err := php.New(source, php.Options{Logger: slog.New(slog.NewTextHandler(&b, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 120 {
		if got := p.Report().State; (got == health.Degraded) != (i >= 50) {
			t.Fatalf("after %d: %v", i, got)
		}
		p.Has("user")(visitor(sid))
	}
	if n := strings.Count(b.String(), "\n"); n != 1 || !strings.Contains(b.String(), "save_path") {
		t.Errorf("%d lines: %s", n, &b)
	}
	source.data, source.err = "user|i:1;", nil
	if p.Has("user")(visitor(sid)); p.Report().State != health.Up {
		t.Errorf("after one was found: %+v", p.Report())
	}
}

// TestCookieNames: a cookie that PHP takes for its own is one for us too. PHP
// itself says which those are.
func TestCookieNames(t *testing.T) {
	store := servertest.Redis(t)
	client := redis.NewClient(&redis.Options{Addr: store.Addr})
	defer client.Close()
	if err := client.Set(t.Context(), "PHPREDIS_SESSION:"+sid, "user|i:1;", time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "index.php"), []byte(`<?php session_start(); echo isset($_SESSION["user"]) ? "member" : "guest";`), 0o644); err != nil {
		t.Fatal(err)
	}
	port := servertest.FreePort(t)
	web := servertest.Start(t, port, "php", "-d", "session.name=shop_sid", "-d", "session.save_handler=redis", "-d", "session.save_path=tcp://"+store.Addr,
		"-S", "127.0.0.1:"+strconv.Itoa(port), "-t", dir)
	p, err := php.New(php.Redis(client, ""), php.Options{Cookie: "shop_sid", Timeout: 10 * time.Second, Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	id := strings.ReplaceAll(sid, ",", "%2C")
	members := 0
	for _, cookie := range []string{
		"shop_sid=", "shop.sid=", "shop sid=", "shop[sid=", " shop.sid=", "a=1;shop.sid=", "\tshop.sid=", "%73hop_sid=", "shop%5Fsid=", "shop%2Esid=", "shop+sid=",
		"shop-sid=", "shopsid=", "shop[sid]=", "shop_sid.=", "_shop_sid=", "SHOP_SID=", "shop_sid[]=", "shop_sid =", "shop..sid=",
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+web.Addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", cookie+id)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		page, _ := io.ReadAll(res.Body)
		res.Body.Close()
		member := string(page) == "member"
		if member {
			members++
		} else if string(page) != "guest" {
			t.Fatalf("%q: PHP says %s", cookie, page)
		}
		if got := p.Has("user")(r); member && !got {
			t.Errorf("%q is a member to PHP and nobody to us", cookie)
		} else if got != member {
			t.Logf("%q is nobody to PHP %s, and a member to us, as to an older PHP", cookie, "8.2")
		}
	}
	if members < 5 {
		t.Errorf("PHP knew %d cookies: the test proves nothing", members)
	}
	// As PHP names it in its settings, too.
	dotted, err := php.New(php.Redis(client, ""), php.Options{Cookie: "shop.sid", Timeout: 10 * time.Second, Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"shop.sid", "shop_sid"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", name+"="+id)
		if !dotted.Has("user")(r) {
			t.Errorf("%s: nobody", name)
		}
	}
}
