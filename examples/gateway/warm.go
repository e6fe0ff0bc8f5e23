package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/router/edge"
)

// A warmer asks for the pages of a list once the backends are up, while visitors are
// served already.
type warmer struct {
	front http.Handler
	apps  *balancer.Pool
	urls  []string
	log   *slog.Logger
}

var _ edge.Runner = warmer{}

func (w warmer) Run(ctx context.Context) error {
	if err := w.apps.WaitReady(ctx); err != nil {
		return nil // it is drained before a backend was up
	}
	begin := time.Now()
	done, err := cache.Warm(ctx, w.front, slices.Values(w.urls), cache.WarmOptions{})
	level, attrs := slog.LevelInfo, []slog.Attr{
		slog.Int("stored", done.Stored), slog.Int("already", done.Already), slog.Int("failed", done.Failed),
		slog.Any("not_stored", done.NotStored), slog.Float64("took_s", time.Since(begin).Seconds()),
	}
	if err != nil {
		level, attrs = slog.LevelWarn, append(attrs, slog.String("cause", strings.ReplaceAll(err.Error(), "\n", "; ")))
	}
	w.log.LogAttrs(ctx, level, "the cache was warmed", attrs...)
	return nil
}

// maxWarm is the largest list that is read, as large as a sitemap may be.
const maxWarm = 50 << 20

// readURLs reads a file of URLs, one a line, or a sitemap.
func readURLs(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	const want = "want a file with a URL a line, such as https://shop.example/, or a sitemap"
	urls, err := urlsIn(path)
	if err == nil && len(urls) == 0 {
		err = errors.New("there is no URL in it")
	}
	if err != nil {
		return nil, fmt.Errorf("-warm %q: %w: %s", path, err, want)
	}
	return urls, nil
}

func urlsIn(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxWarm+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxWarm:
		return nil, fmt.Errorf("more than %d MiB", maxWarm>>20)
	case bytes.HasPrefix(bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))), []byte("<")):
		return sitemap(data)
	}
	return lines(data)
}

// lines reads a URL a line; what begins with # is none.
func lines(data []byte) (urls []string, err error) {
	in := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; in.Scan(); n++ {
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if !strings.HasPrefix(line, "http://") && !strings.HasPrefix(line, "https://") {
			return nil, fmt.Errorf("line %d is no URL", n)
		}
		urls = append(urls, line)
	}
	return urls, in.Err()
}

// sitemap reads the pages that a sitemap names (sitemaps.org).
func sitemap(data []byte) ([]string, error) {
	var set struct {
		XMLName xml.Name
		URLs    []struct {
			Loc string `xml:"loc"`
		} `xml:"url"`
	}
	if err := xml.Unmarshal(data, &set); err != nil {
		return nil, err
	}
	if set.XMLName.Local != "urlset" {
		return nil, fmt.Errorf("<%s> is no sitemap, which is a <urlset>", set.XMLName.Local)
	}
	var urls []string
	for _, u := range set.URLs {
		urls = append(urls, strings.TrimSpace(u.Loc))
	}
	return urls, nil
}
