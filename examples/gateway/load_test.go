package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
)

// A crowd asks for pages until it is told to stop, and keeps what has gone wrong: by
// connections that are kept and by new ones, with bodies and without.
type crowd struct {
	stop     context.CancelFunc
	members  sync.WaitGroup
	answered atomic.Int64

	mu     sync.Mutex
	failed []string // guarded by mu
}

// startCrowd has url, which may be https, asked; the path of each request is made by
// path from a number.
func startCrowd(t *testing.T, url string, path func(n int64) string) *crowd {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c := &crowd{stop: stop}
	t.Cleanup(func() { stop(); c.members.Wait() })
	var numbers atomic.Int64
	for _, kind := range []struct {
		method   string
		kept, h2 bool // the second over https alone
		n        int
	}{{"GET", true, false, 4}, {"POST", true, false, 2}, {"GET", false, false, 2}, {"POST", true, true, 2}} {
		for range kind.n {
			c.members.Go(func() {
				transport := &http.Transport{DisableKeepAlives: !kind.kept, ForceAttemptHTTP2: kind.h2, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // whose certificate does not matter
				defer transport.CloseIdleConnections()
				client := &http.Client{Transport: transport, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
				for ctx.Err() == nil {
					at := path(numbers.Add(1))
					if kind.method == "POST" { // which has a page asked for again
						at = "/order"
					}
					if err := placed(client, kind.method, url+at, kind.h2); err != nil {
						c.mu.Lock()
						c.failed = append(c.failed, fmt.Sprintf("%s %s, kept %t, HTTP/2 %t: %v", kind.method, at, kind.kept, kind.h2, err))
						c.mu.Unlock()
					} else {
						c.answered.Add(1)
					}
				}
			})
		}
	}
	return c
}

// placed places a request, and says what is wrong with its answer. Over HTTP/2 a client
// learns which of its requests a server that goes away has not looked at, and sends them
// again (RFC 9113, section 6.8), so it can; over HTTP/1.1 it must not, and cannot.
func placed(client *http.Client, method, url string, h2 bool) error {
	var body io.Reader
	switch {
	case method == "POST" && h2:
		body = strings.NewReader("an order")
	case method == "POST":
		body = io.MultiReader(strings.NewReader("an"), strings.NewReader(" order"))
	}
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		return err
	}
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || len(text) == 0) {
		err = fmt.Errorf("status %d, %d bytes", res.StatusCode, len(text))
	}
	return err
}

// passes waits until so many more requests have been answered.
func (c *crowd) passes(t *testing.T, n int64) {
	t.Helper()
	goal := c.answered.Load() + n
	testkit.Within(t, testkit.Patience, fmt.Sprint(n, " more answers"), func() bool { return c.answered.Load() >= goal || c.failures() > 0 })
}

func (c *crowd) failures() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.failed)
}

// ends stops it, and tells what has gone wrong.
func (c *crowd) ends(t *testing.T) {
	t.Helper()
	c.stop()
	c.members.Wait()
	for i, f := range c.failed {
		if i == 10 {
			break
		}
		t.Error(f)
	}
	t.Logf("%d answers, %d failures", c.answered.Load(), len(c.failed))
}
