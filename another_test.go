package foretier_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// TestNobodyGetsAnothersPage, whatever becomes of others' requests: many are given up,
// break off, are tried again at a server that is there, come in one piece, or are answered
// in many.
func TestNobodyGetsAnothersPage(t *testing.T) {
	steady := "http://" + testkit.Backend(t, said)
	addr := way{edge: edge.Options{PlainHTTP2: true}, rule: router.Rule{When: router.Path("/*")}, pool: balancer.Options{Retries: balancer.Retries{Budget: 1}}}.run(t, steady, wavering(t))
	var all, second tally
	end := time.Now().Add(3 * time.Second)
	var visitors sync.WaitGroup
	for i := range 24 {
		visitors.Go(func() {
			for n := 0; time.Now().Before(end) && !t.Failed(); n++ {
				if err := visit(addr, fmt.Sprintf("%d-%d", i, n), &all); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 3 {
		client := &http.Client{Transport: &http.Transport{Protocols: http2(), DisableCompression: true}}
		defer client.CloseIdleConnections()
		for j := range 6 {
			visitors.Go(func() {
				for n := 0; time.Now().Before(end) && !t.Failed(); n++ {
					if err := visit2(client, addr, fmt.Sprintf("second-%d-%d-%d", i, j, n), &second); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	visitors.Wait()
	for name, all := range map[string]*tally{"HTTP/1.1": &all, "HTTP/2": &second} {
		served, broken, coded := all.served.Load(), all.broken.Load(), all.coded.Load()
		t.Logf("%s: %d served, of which %d compressed, %d not, of which some were meant to break off", name, served, coded, broken)
		if served < 100 || coded == 0 || broken == 0 || broken > served {
			t.Errorf("%s: %d served, %d compressed and %d not are no test", name, served, coded, broken)
		}
	}
}

// http2 is HTTP/2 without TLS.
func http2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// A tally counts answers: whole ones, those among them that were compressed, others.
type tally struct{ served, coded, broken atomic.Int64 }

// said answers each request of a connection with lines of what its X-Own says.
func said(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		own := r.Header.Get("X-Own")
		if body, err := io.ReadAll(r.Body); err != nil {
			return // it was cut off
		} else if strings.ReplaceAll(string(body), own+"\n", "") != "" {
			own = "another's body"
		}
		head := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Said: " + own + "\r\n"
		line := own + "\n"
		switch r.URL.Query().Get("as") {
		case "cut":
			_, _ = io.WriteString(c, head+"Content-Length: 1000\r\n\r\n"+line)
			return
		case "silent":
			return
		case "coded":
			page := strings.Repeat(line, 100)
			_, err = fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n%s", head, len(page), page)
		case "large":
			page := strings.Repeat(line, 10_000)
			_, err = fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n%s", head, len(page), page)
		case "middle":
			page := strings.Repeat(line, 1000)
			_, err = fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n%s", head, len(page), page)
		case "chunks":
			page := strings.Repeat(line, 300)
			_, err = fmt.Fprintf(c, "%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%x;a=b\r\n%s\r\n0\r\n\r\n", head, len(page), page, len(line), line)
		case "pieces":
			fmt.Fprintf(c, "HTTP/1.1 103 Early Hints\r\nLink: <%s>\r\n\r\n%sTransfer-Encoding: chunked\r\n\r\n", own, head)
			for range 5 { // an error shows with the end
				runtime.Gosched()
				fmt.Fprintf(c, "%x\r\n%s\r\n", len(line), line)
			}
			_, err = io.WriteString(c, "0\r\n\r\n")
		default:
			_, err = fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n%s", head, len(line), line)
		}
		if err != nil {
			return
		}
	}
}

// wavering is a server that is there half of the time, and closes what is open when it
// goes.
func wavering(t *testing.T) (url string) {
	addr := fmt.Sprint("127.0.0.1:", servertest.FreePort(t))
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	t.Cleanup(func() { stop(); all.Wait() })
	tick := time.NewTicker(20 * time.Millisecond)
	all.Go(func() {
		defer tick.Stop()
		for ctx.Err() == nil {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			var open sync.WaitGroup
			there, leave := context.WithCancel(ctx)
			open.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					open.Go(func() {
						defer c.Close()
						defer context.AfterFunc(there, func() { _ = c.Close() })()
						said(c)
					})
				}
			})
			<-tick.C
			_ = l.Close()
			leave()
			open.Wait()
			<-tick.C
		}
	})
	return "http://" + addr
}

// visit is one connection of a visitor's.
func visit(addr, name string, all *tally) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(testkit.Patience))
	in := bufio.NewReader(c)
	for range 30 {
		kind := rand.IntN(20)
		as := map[int]string{0: "cut", 1: "silent", 2: "large", 3: "large", 4: "pieces", 5: "pieces", 8: "coded", 9: "coded", 11: "middle", 12: "middle", 13: "chunks", 14: "chunks"}[kind]
		var own []string
		var text strings.Builder
		for i := range 1 + kind%3 { // some in one piece
			own = append(own, fmt.Sprintf("%s-%d-%d", name, rand.Uint32(), i))
			method, body := "GET", ""
			if kind == 6 || kind > 15 {
				method, body = "POST", upload(own[i])
			}
			fmt.Fprintf(&text, "%s /%s?as=%s HTTP/1.1\r\nHost: shop.example\r\nX-Own: %s\r\nContent-Length: %d\r\n", method, own[i], as, own[i], len(body))
			if as == "coded" {
				text.WriteString("Accept-Encoding: gzip\r\n")
			}
			if kind == 16 {
				body = body[:len(body)/2]
			}
			text.WriteString("\r\n" + body)
		}
		if _, err := io.WriteString(c, text.String()); err != nil {
			return nil // it was closed behind an answer that broke off
		}
		if kind == 7 || kind == 16 {
			return nil // without an answer
		}
		for i := range own {
			whole, err := all.hears(in, own[i])
			if err != nil {
				return err
			}
			if !whole {
				all.broken.Add(1)
				return nil
			}
			all.served.Add(1)
		}
	}
	return nil
}

// upload is a body of own's, of which most fit into memory that is there, and into a form.
func upload(own string) string {
	return strings.Repeat(own+"\n", []int{1, 1, 100, 400, 2000, 5000}[rand.IntN(6)])
}

// visit2 is a request of a visitor's over HTTP/2, on a connection that others use.
func visit2(client *http.Client, addr, own string, all *tally) error {
	ctx, stop := context.WithTimeout(context.Background(), testkit.Patience)
	defer stop()
	kind := rand.IntN(20)
	as := map[int]string{0: "cut", 1: "silent", 2: "large", 4: "pieces", 8: "coded", 9: "coded", 11: "middle", 12: "middle", 13: "chunks", 14: "chunks"}[kind]
	method, body := "GET", io.Reader(nil)
	if kind == 6 || kind > 15 {
		method, body = "POST", strings.NewReader(upload(own))
	}
	if kind == 16 {
		body = io.MultiReader(body, cutOff{})
	}
	if kind == 7 || kind == 10 {
		time.AfterFunc(time.Duration(rand.IntN(2000))*time.Microsecond, stop)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+addr+"/"+own+"?as="+as, body)
	if err != nil {
		return err
	}
	r.Header.Set("X-Own", own)
	if as == "coded" {
		r.Header.Set("Accept-Encoding", "gzip")
	}
	res, err := client.Do(r)
	whole := false
	if err == nil {
		if whole, err = all.judges(res, own); err != nil {
			return err
		}
	}
	if whole {
		all.served.Add(1)
	} else {
		all.broken.Add(1)
	}
	return nil
}

// cutOff is a body that breaks off.
type cutOff struct{}

func (cutOff) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// hears reports whether what in brings is a whole answer, which is own's then.
func (all *tally) hears(in *bufio.Reader, own string) (whole bool, err error) {
	res, err := http.ReadResponse(in, nil)
	for ; err == nil && res.StatusCode == http.StatusEarlyHints; res, err = http.ReadResponse(in, nil) {
		if link := res.Header.Get("Link"); link != "<"+own+">" {
			return false, fmt.Errorf("%s is told early of %s", own, link)
		}
	}
	if err != nil {
		return false, nil
	}
	return all.judges(res, own)
}

// judges reports whether res is a whole answer, which is own's then.
func (all *tally) judges(res *http.Response, own string) (whole bool, err error) {
	defer res.Body.Close()
	var page io.Reader = res.Body
	if res.Header.Get("Content-Encoding") == "gzip" {
		if page, err = gzip.NewReader(page); err != nil {
			return false, nil
		}
		all.coded.Add(1)
	}
	body, err := io.ReadAll(page)
	if res.StatusCode != http.StatusOK {
		return false, nil
	}
	if said := res.Header.Get("X-Said"); said != own {
		return false, fmt.Errorf("%s is said %s", own, said)
	}
	for line := range strings.Lines(string(body)) {
		if strings.HasSuffix(line, "\n") && line != own+"\n" {
			return false, fmt.Errorf("%s gets %s", own, line)
		}
	}
	return err == nil, nil
}
