//go:build e2e

package site

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A gauge is something that a gateway says of itself and that must not grow.
type gauge struct {
	name  string
	unit  float64
	share float64 // of what there is by the middle: that it may grow by while it is looked at
	slack float64 // and so much more, in units
}

// What is asked for is the same all the time, and all that is kept has its bounds, so what
// grows, leaks. How much there is at one moment depends on who is being answered (a large
// page for who reads slowly is megabytes), so a share of it and a few more are no finding.
// In the 20 minutes of half an hour that are looked at a gateway has some 100,000 requests:
// it is a finding if one in 2,000 leaves a goroutine or a descriptor behind, or each of
// them 120 bytes. The memory is what has survived a collection, by GOGC=100 half of where
// the next will be.
var gauges = []gauge{
	{"go_goroutines", 1, 0.25, 30},
	{"process_open_fds", 1, 0.25, 30},
	{"go_memstats_next_gc_bytes", 2 << 20, 0.15, 8},
}

// TestSoak has visitors of all kinds ask for FORETIER_SITE_SOAK, or a minute, while
// posts are published: neither gateway, of which one is built to detect races, has more
// goroutines, descriptors or memory in the end, and neither detects any.
func TestSoak(t *testing.T) {
	lasts := time.Minute
	if text := os.Getenv("FORETIER_SITE_SOAK"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOGC", "100")
	s := &site{t: t, racy: true, more: []string{"-cache", "4MiB"}} // which is full at once
	s.open()
	b := s.install()
	picture := s.upload(b, "picture")
	paths := []string{"/", "/feed/", "/hello-world/", s.publish(b, "News", picture), picture}
	s.warm(paths)
	orders, c := s.till(), s.crowd(paths...)
	ctx, stop := context.WithCancel(context.Background())
	var others sync.WaitGroup
	defer others.Wait()
	defer stop()
	for gateway := range s.gateways {
		for _, h2 := range []bool{false, true} {
			for _, visit := range []func(context.Context, *http.Client) error{leaves, lags, comes, sends} {
				client := s.client(gateway, h2)
				others.Go(func() {
					for ctx.Err() == nil {
						if err := visit(ctx, client); err != nil && ctx.Err() == nil {
							t.Errorf("gateway %d: %v", gateway, err)
							return
						}
					}
				})
			}
		}
	}

	const every = 2 * time.Second
	seen := make([]map[string][]float64, len(s.gateways))
	for gateway := range seen {
		seen[gateway] = make(map[string][]float64)
	}
	published := time.Now()
	for began, next := time.Now(), time.Now(); time.Since(began) < lasts; next = next.Add(every) {
		last(time.Until(next))
		for gateway := range s.gateways {
			now := s.metrics(gateway)
			for _, g := range gauges {
				seen[gateway][g.name] = append(seen[gateway][g.name], now[g.name]/g.unit)
			}
		}
		if time.Since(published) > 30*time.Second {
			published = time.Now()
			s.publish(b, "News of "+published.Format(time.TimeOnly), picture)
		}
	}
	stop()
	others.Wait()
	c.end()
	orders.end()
	f := c.take()
	refused, why := orders.take()
	t.Logf("%d requests of the crowd in %v, %d failed, %d cut off, the slowest took %v; %d orders failed %s", f.asked, lasts, f.failed, f.cut, f.slowest.Round(time.Millisecond), refused, why)
	if f.slow != nil {
		t.Logf("the slowest was %s", f.slow())
	}
	for _, why := range append(f.why, f.rare...) {
		t.Error(why)
	}
	if f.cut > 0 || refused > 0 {
		t.Errorf("%d pages were cut off and %d orders refused, and nothing has broken", f.cut, refused)
	}
	c.fair()
	if lost, acked := orders.lost(0); len(lost) > 0 || acked == 0 {
		t.Errorf("of %d acknowledged orders %d are lost: %v", acked, len(lost), lost)
	}
	for gateway, g := range s.gateways {
		if out := g.Output(); strings.Contains(out, "DATA RACE") {
			t.Errorf("gateway %d has a race: %.4000s", gateway, out[strings.Index(out, "DATA RACE"):])
		}
		for _, one := range gauges {
			// A third is the beginning: caches and pools fill.
			values := seen[gateway][one.name]
			values = values[len(values)/3:]
			grown := slope(values) * float64(len(values)-1)
			sorted := slices.Sorted(slices.Values(values))
			middle := sorted[len(sorted)/2]
			t.Logf("gateway %d: %s: %.1f in the middle, from %.1f to %.1f, grows by %.2f in %v", gateway, one.name, middle, sorted[0], sorted[len(sorted)-1], grown, time.Duration(len(values)-1)*every)
			if limit := one.share*middle + one.slack; grown > limit {
				t.Errorf("gateway %d: %s grows by %.1f, want at most %.1f: %.0f", gateway, one.name, grown, limit, values)
			}
		}
	}
}

// slope returns by how much values grow from one to the next: the median of what all pairs
// say (Theil and Sen), which a peak now and then does not change.
func slope(values []float64) float64 {
	var all []float64
	for i, from := range values {
		for j := i + 1; j < len(values); j++ {
			all = append(all, (values[j]-from)/float64(j-i))
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// metrics returns what a gateway says of itself without labels.
func (s *site) metrics(gateway int) map[string]float64 {
	s.t.Helper()
	res, err := http.Get("http://" + s.status[gateway] + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	all := make(map[string]float64)
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			all[name] = v
		}
	}
	for _, g := range gauges {
		if all[g.name] == 0 {
			s.t.Fatalf("gateway %d does not say %s", gateway, g.name)
		}
	}
	return all
}

// long asks for a page that comes in pieces, and returns it once the first is there.
func long(ctx context.Context, c *http.Client, query string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/trial/page.php?%s&n=%d", home, query, rand.Int()), nil)
	if err != nil {
		return nil, err
	}
	res, err := c.Do(r)
	if err != nil {
		return nil, err
	}
	if _, err = io.CopyN(io.Discard, res.Body, 1024); err != nil || res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("%s: %s, %w", r.URL, res.Status, err)
	}
	return res, nil
}

// leaves goes in the middle of a page.
func leaves(ctx context.Context, c *http.Client) error {
	ctx, gone := context.WithCancel(ctx)
	defer gone()
	res, err := long(ctx, c, "pieces=20&kb=4&wait=50")
	if err != nil {
		return err
	}
	gone()
	return res.Body.Close()
}

// lags reads a large page slowly.
func lags(ctx context.Context, c *http.Client) error {
	res, err := long(ctx, c, "pieces=1&kb=3000&wait=0")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	for err == nil && ctx.Err() == nil {
		last(50 * time.Millisecond)
		_, err = io.CopyN(io.Discard, res.Body, 100<<10)
	}
	if err == io.EOF {
		err = nil
	}
	return err
}

// comes makes a connection for each page.
func comes(ctx context.Context, c *http.Client) error {
	c.CloseIdleConnections()
	last(200 * time.Millisecond)
	res, err := long(ctx, c, "pieces=1&kb=4&wait=0")
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// sends sends what is larger than is kept in memory, of a length that nobody knows.
func sends(ctx context.Context, c *http.Client) error {
	last(500 * time.Millisecond)
	body := struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 2<<20))}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, home+"/trial/page.php?pieces=1&kb=4&wait=0", body)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	status, text, err := answer(c, r)
	if err == nil && (status != http.StatusOK || !strings.HasSuffix(text, "whole\n")) {
		err = fmt.Errorf("an upload: %d, %.100q", status, text)
	}
	return err
}
