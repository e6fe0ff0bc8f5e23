//go:build e2e

package site

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/testkit"
)

const (
	visitors = 16                     // of each gateway
	pace     = 200 * time.Millisecond // between two requests of one
	patience = 20 * time.Second       // that a visitor has for a page, on a machine that may be slow
)

// addresses are as many as there were clients.
var addresses atomic.Uint32

// client returns who comes to the site by one of the gateways, over HTTP/2 or HTTP/1.1,
// from an address of his own: what one client alone sees of a server proves nothing.
func (s *site) client(gateway int, h2 bool) *http.Client {
	return s.through(s.gateways[gateway].Addr, h2)
}

// through is client by the gateway at this address.
func (s *site) through(to string, h2 bool) *http.Client {
	n := addresses.Add(1)
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(n>>8), byte(n))}}
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return from.DialContext(ctx, network, to)
		},
		TLSClientConfig: &tls.Config{RootCAs: s.authority.Pool, ServerName: host}, ForceAttemptHTTP2: h2,
	}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// get returns a page of the site.
func get(c *http.Client, path string) (res *http.Response, body string, err error) {
	res, err = c.Get(home + path)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body) // on an error there is still res
	return res, string(b), err
}

// answer returns what comes of a request.
func answer(c *http.Client, r *http.Request) (status int, body string, err error) {
	res, err := c.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// A crowd is anonymous visitors at both gateways, who look at what they get.
type crowd struct {
	s       *site
	stop    context.CancelFunc
	running sync.WaitGroup
	asking  [2 * visitors]atomic.Int64 // odd while that visitor waits for something

	mu       sync.Mutex
	paths    []string // guarded by mu: what is asked for
	pictures []string // guarded by mu: that were published
	figures  figures  // guarded by mu
	wrong    []string // guarded by mu: what nobody may be shown
	dead     [2]bool  // guarded by mu: gateways that are not asked
}

// figures are what has become of the requests of a while.
type figures struct {
	asked, failed int
	cut           int // broke off in the middle: their server died when more had gone out than is held
	slowest       time.Duration
	slow          func() string // which that was; nil: none took longer than a second
	rare          []string      // why the first failed of pages that no cache has
	why           []string      // and of all others
}

// crowd has visitors come until the test ends, or ends is called.
func (s *site) crowd(paths ...string) *crowd {
	ctx, stop := context.WithCancel(context.Background())
	c := &crowd{s: s, stop: stop, paths: paths}
	s.t.Cleanup(c.end)
	var n atomic.Int64
	for i := range c.asking {
		gateway := i % len(s.gateways)
		client := s.client(gateway, i/2%2 == 0)
		c.running.Go(func() {
			for tick := time.NewTicker(pace); ctx.Err() == nil; {
				select {
				case <-ctx.Done():
					tick.Stop()
				case <-tick.C:
					c.asking[i].Add(1)
					c.visit(ctx, client, gateway, n.Add(1))
					c.asking[i].Add(1)
				}
			}
		})
	}
	return c
}

// over waits until all has been answered that is asked for now, of whatever was broken before,
// or given up, and the gateway's line of it was looked for.
func (c *crowd) over() {
	c.s.t.Helper()
	var before [len(c.asking)]int64
	for i := range before {
		before[i] = c.asking[i].Load()
	}
	testkit.Within(c.s.t, patience+5*time.Second, "what the crowd has asked for is over", func() bool {
		for i, n := range before {
			if n%2 == 1 && c.asking[i].Load() == n {
				return false
			}
		}
		return true
	})
}

func (c *crowd) end() {
	c.stop()
	c.running.Wait()
}

// visit asks for one of the pages, or pictures; now and then for one that no cache has.
func (c *crowd) visit(ctx context.Context, client *http.Client, gateway int, n int64) {
	c.mu.Lock()
	if c.dead[gateway] {
		c.mu.Unlock()
		return
	}
	all := append(slices.Clone(c.paths), c.pictures...)
	c.mu.Unlock()
	path := all[rand.IntN(len(all))]
	picture := strings.Contains(path, "/uploads/")
	rare := n%10 == 0 && !picture
	if rare {
		path += fmt.Sprintf("?visit=%d", n)
	}
	began := time.Now()
	res, body, err := get(client, path)
	took := time.Since(began)
	failed := ""
	switch {
	case err != nil && res == nil:
		failed = fmt.Sprintf("%s at gateway %d: %v", path, gateway, err)
	case err == nil && res.StatusCode >= 400:
		line := c.s.logged(gateway, res.Header.Get("X-Request-Id"))
		if brokeOff.MatchString(line) { // nothing of it had left the gateway, which says so then
			err = errors.New("cut off")
			break
		}
		failed = fmt.Sprintf("%s at gateway %d: %s, %s", path, gateway, res.Status, line)
	}
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead[gateway] {
		return // it was in flight when that was killed
	}
	f := &c.figures
	f.asked++
	if took > f.slowest && took > time.Second && res != nil {
		id := res.Header.Get("X-Request-Id")
		f.slow = func() string { return fmt.Sprintf("%s at gateway %d: %s", path, gateway, c.s.logged(gateway, id)) }
	}
	f.slowest = max(f.slowest, took)
	switch {
	case failed != "":
		f.fail(failed, rare)
	case err != nil:
		f.cut++
	case !picture:
		if what := private.FindString(body); what != "" {
			c.wrong = append(c.wrong, fmt.Sprintf("%s at gateway %d shows %q", path, gateway, what))
		}
		if strings.Contains(res.Header.Get("Cache-Status"), "hit") && res.Header["Set-Cookie"] != nil {
			c.wrong = append(c.wrong, fmt.Sprintf("%s at gateway %d sets what is another's: %q", path, gateway, res.Header["Set-Cookie"]))
		}
	}
}

// brokeOff finds the line of a page that its only server, which died, had begun more than
// 10 ms before, as long as one is held.
var brokeOff = regexp.MustCompile(`status=502 .* pool="\S+ (0\.0[1-9]|0\.[1-9]|[1-9])[0-9.]*s" cause="backend [0-9.:]+: response broke off: `)

// private is what pages have that are made for somebody: the bar of who is logged in, and
// what a visitor has said of himself to comment.
var private = regexp.MustCompile(`wpadminbar|<body class="[^"]*logged-in|value="[^"]*@visitor\.example"|awaiting moderation`)

// logged returns the line that a gateway has of a request.
func (s *site) logged(gateway int, id string) string {
	for range 100 { // it comes at most 100 ms later
		for line := range strings.Lines(s.gateways[gateway].Output()) {
			if strings.Contains(line, " id="+id+" ") {
				return line
			}
		}
		time.Sleep(10 * time.Millisecond) // for the gateway to write it
	}
	return "no line of " + id
}

func (f *figures) fail(why string, rare bool) {
	f.failed++
	first := &f.why
	if rare {
		first = &f.rare
	}
	if len(*first) < 5 {
		*first = append(*first, why)
	}
}

// count takes another request into the figures, and what f says of it.
func (c *crowd) count(f func(*figures)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.figures.asked++
	f(&c.figures)
}

// add has the visitors ask for this, too.
func (c *crowd) add(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if strings.Contains(path, "/uploads/") {
		c.pictures = append(c.pictures, path)
	} else {
		c.paths = append(c.paths, path)
	}
}

// take returns what has become of the requests since the last time.
func (c *crowd) take() figures {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.figures
	c.figures = figures{}
	return f
}

// shun has nobody come to a gateway any more, or again.
func (c *crowd) shun(gateway int, dead bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead[gateway] = dead
}

// fair fails the test if somebody was shown what is not his.
func (c *crowd) fair() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, what := range c.wrong[:min(len(c.wrong), 5)] {
		c.s.t.Error(what)
	}
}

// A jar keeps all cookies for all, as a person with one site does.
type jar struct {
	mu      sync.Mutex
	cookies map[string]*http.Cookie // guarded by mu
}

// SetCookies implements [http.CookieJar].
func (j *jar) SetCookies(_ *url.URL, cookies []*http.Cookie) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cookies == nil {
		j.cookies = make(map[string]*http.Cookie)
	}
	for _, c := range cookies {
		j.cookies[c.Name] = c
	}
}

// Cookies implements [http.CookieJar].
func (j *jar) Cookies(*url.URL) (all []*http.Cookie) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range j.cookies {
		all = append(all, c)
	}
	return all
}
