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
		method string
		kept   bool
		n      int
	}{{"GET", true, 4}, {"POST", true, 2}, {"GET", false, 2}} {
		for range kind.n {
			c.members.Go(func() {
				transport := &http.Transport{DisableKeepAlives: !kind.kept, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // whose certificate does not matter
				defer transport.CloseIdleConnections()
				client := &http.Client{Transport: transport, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
				for ctx.Err() == nil {
					at := path(numbers.Add(1))
					if err := placed(client, kind.method, url+at); err != nil {
						c.mu.Lock()
						c.failed = append(c.failed, fmt.Sprintf("%s %s, kept %t: %v", kind.method, at, kind.kept, err))
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

// placed places a request, and says what is wrong with its answer.
func placed(client *http.Client, method, url string) error {
	var body io.Reader
	if method == "POST" {
		body = io.MultiReader(strings.NewReader("an"), strings.NewReader(" order")) // that no client sends twice
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
