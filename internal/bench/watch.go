//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// scrapeEvery is how often a watched gateway's metrics are asked for: as often as
// Prometheus does where it is told to look closely.
const scrapeEvery = 5 * time.Second

// A watcher looks at a gateway as an open page and Prometheus do.
type watcher struct {
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

// watch looks at the gateway whose status page that is. It fails if nothing is to be seen.
func watch(ctx context.Context, addr string) (*watcher, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{cancel: cancel}
	scrape := func() error { return w.read(ctx, "http://"+addr+"/metrics") }
	if err := scrape(); err != nil {
		cancel()
		return nil, err
	}
	w.ended.Go(func() { _ = w.read(ctx, "http://"+addr+"/events") }) // until it is cancelled
	w.ended.Go(func() {
		for ctx.Err() == nil {
			_ = scrape() // the first was answered
			select {
			case <-time.After(scrapeEvery):
			case <-ctx.Done():
			}
		}
	})
	return w, nil
}

// read reads all that there is at url.
func (w *watcher) read(ctx context.Context, url string) error {
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

func (w *watcher) close() {
	w.cancel()
	w.ended.Wait()
}

// watched lets the gateway take part with its status page open and its metrics asked for,
// with a hook for spans too, with the log as well, and without all that.
func watched(w *workload) {
	w.group = "Watched"
	on := ours
	on.name, on.change = ours.name+", watched", func(s *setup) { s.Watched = true }
	traced := ours
	traced.name, traced.change = ours.name+", watched and traced", func(s *setup) { s.Watched, s.Traced = true, true }
	logged := ours
	logged.name, logged.change = ours.name+", all that and the log", func(s *setup) { s.Watched, s.Traced, s.Log = true, true, true }
	w.by = []entrant{ours, on, traced, logged}
	w.without = []string{"nginx, HAProxy, Varnish, Caddy: this is about what it costs to look"}
}
