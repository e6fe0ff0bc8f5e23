//go:build e2e

package site

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// A trial is how a page is sent, at which its server dies.
type trial struct {
	query string
	cut   bool // it may break off: more of it has gone out by then than is held
}

var trials = []trial{
	{"pieces=1&kb=4&wait=2000", false}, // PHP still thinks
	{"pieces=1&kb=32768&wait=0", true}, // more than sockets hold, to a reader who waits
	{"pieces=40&kb=1&wait=50", true},   // little by little
}

// midPage kills an application server while it sends pages, small ones and large: that
// which most readers are at. Those of which nothing has gone out come from another; no
// reader takes a piece for the whole.
func (s *site) midPage(c *crowd) {
	const each = 4 // readers of each kind, half of them at each gateway
	var (
		begun, reading sync.WaitGroup
		mu             sync.Mutex
		at             = make(map[string]int) // guarded by mu: how many read what a server sends
		dead           = make(chan struct{})
		victim         string // once dead is closed
	)
	for i := range each * len(trials) {
		tr, gateway := trials[i%len(trials)], i/len(trials)%len(s.gateways)
		client := s.client(gateway, i/len(trials)/len(s.gateways)%2 == 0)
		path := fmt.Sprintf("/trial/page.php?%s&n=%d", tr.query, addresses.Add(1))
		begun.Add(1)
		reading.Go(func() {
			seen := sync.OnceFunc(begun.Done)
			defer seen()
			if !tr.cut {
				seen() // of this there is nothing to see yet
			}
			fail := func(format string, args ...any) {
				c.count(func(f *figures) {
					f.fail(fmt.Sprintf("%s at gateway %d: ", path, gateway)+fmt.Sprintf(format, args...), false)
				})
			}
			res, err := client.Get(home + path)
			if err != nil {
				fail("%v", err)
				return
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusOK {
				fail("%s", res.Status)
				return
			}
			from := res.Header.Get("X-Web")
			var body bytes.Buffer
			if tr.cut {
				_, err = io.CopyN(&body, res.Body, 1024)
				mu.Lock()
				at[from]++
				mu.Unlock()
				seen()
				<-dead
			}
			if err == nil {
				_, err = io.Copy(&body, res.Body)
			}
			switch whole := bytes.HasSuffix(body.Bytes(), []byte("\nwhole\n")); {
			case err != nil && tr.cut && from == victim:
				c.count(func(f *figures) { f.cut++ })
			case err != nil:
				fail("what came from %s broke off after %d bytes: %v", from, body.Len(), err)
			case !whole:
				fail("what came from %s ends after %d bytes as if it were whole", from, body.Len())
			default:
				c.count(func(*figures) {})
			}
		})
	}
	begun.Wait()
	web := 1
	if at["web2"] > at["web1"] {
		web = 2
	}
	victim = fmt.Sprintf("web%d", web)
	s.web[web].Kill()
	close(dead)
	reading.Wait()
	if at[victim] == 0 {
		s.t.Errorf("nobody read a page of a server that could be killed: %v", at)
	}
	s.web[web].Restart()
}

// unseen asks for a page that PHP gives up in the middle: it ends like a whole one, at the
// server itself, so that nobody in front can know.
func (s *site) unseen() {
	direct := func() (*http.Response, error) {
		return http.Get(s.web[1].url() + "/trial/page.php?pieces=2&kb=8&wait=0&out")
	}
	for _, ask := range []func() (*http.Response, error){direct, func() (*http.Response, error) {
		return s.client(0, true).Get(home + "/trial/page.php?pieces=2&kb=8&wait=0&out")
	}} {
		res, err := ask()
		if err != nil {
			s.t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusOK || len(body) != 8<<10 || err != nil {
			s.t.Errorf("PHP out of memory: %s, %d bytes, %v; docs/breakages.md says that this looks whole", res.Status, len(body), err)
		}
	}
}
