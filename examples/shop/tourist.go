package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/foretier/foretier/session"
)

// A tourist visits two tiers with a shop behind each.
type tourist struct {
	ctx   context.Context
	farms [2]*farm
	base  [2]string
	end   func() error
}

func startTour(ctx context.Context, store session.Store, logger *slog.Logger) (*tourist, error) {
	running, cancel := context.WithCancel(ctx)
	t := &tourist{ctx: running}
	var wg sync.WaitGroup
	var errs [2]error
	t.end = func() error {
		cancel()
		wg.Wait()
		return errors.Join(errs[:]...)
	}
	for i := range t.farms {
		f, err := newFarm("127.0.0.1:0", 0, store, logger)
		if err != nil {
			return nil, errors.Join(err, t.end())
		}
		t.farms[i] = f
		wg.Go(func() { errs[i] = f.Run(running) })
		t.base[i] = "http://" + f.srv.Addr().String()
	}
	return t, nil
}

// A visitor is a browser with cookies of its own.
type visitor struct {
	http.Client
	ctx  context.Context
	base string
}

func (t *tourist) visitor() *visitor {
	jar, _ := cookiejar.New(nil) // never fails without options
	return &visitor{http.Client{Jar: jar, Timeout: 20 * time.Second}, t.ctx, t.base[0]}
}

// reply is a whole answer.
type reply struct {
	status int
	header http.Header
	body   string
}

func (r reply) server() string { return r.header.Get("X-Served-By") }
func (r reply) hit() bool      { return strings.Contains(r.header.Get("Cache-Status"), "hit") }

func (v *visitor) do(method, path string, body io.Reader) (reply, error) {
	req, err := http.NewRequestWithContext(v.ctx, method, v.base+path, body)
	if err != nil {
		return reply{}, err
	}
	if strings.HasPrefix(path, "/cart") || strings.HasPrefix(path, "/log") {
		req.Header.Set("Accept", "application/json")
	}
	resp, err := v.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s from %q: %.80s", method, path, resp.Status, resp.Header.Get("X-Served-By"), data)
	}
	return reply{resp.StatusCode, resp.Header, string(data)}, err
}

func (v *visitor) get(path string) (reply, error)  { return v.do("GET", path, nil) }
func (v *visitor) post(path string) (reply, error) { return v.do("POST", path, nil) }

func (v *visitor) items() (map[string]int, reply, error) {
	r, err := v.get("/cart")
	if err != nil {
		return nil, r, err
	}
	var got visit
	err = json.Unmarshal([]byte(r.body), &got)
	return got.Items, r, err
}

// raw sends a target as it is, which http.Client would not.
func (t *tourist) raw(target string) (status int, server string, err error) {
	u, err := url.Parse(t.base[0])
	if err != nil {
		return 0, "", err
	}
	conn, err := net.DialTimeout("tcp", u.Host, 5*time.Second)
	if err != nil {
		return 0, "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return 0, "", err
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n", target); err != nil {
		return 0, "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("X-Served-By"), nil
}

// parallel calls f n times at once and returns the results, and the first error.
func parallel[T any](n int, f func(i int) (T, error)) ([]T, error) {
	results := make([]T, n)
	var g errgroup.Group
	for i := range n {
		g.Go(func() (err error) {
			results[i], err = f(i)
			return err
		})
	}
	return results, g.Wait()
}
