package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/foretier/foretier/cache"
)

// A snapshot is what the cache keeps on disk while the gateway is not there.
type snapshot struct {
	pages *cache.Cache
	path  string
	log   *slog.Logger
	// passed says that another gateway has taken over, with what was saved for it.
	passed bool
}

// load fills the cache, which serves nothing yet. A snapshot that cannot be read is no
// reason not to serve.
func (s *snapshot) load() {
	begin := time.Now()
	n, err := s.pages.Load(context.Background(), s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		s.log.Warn("the snapshot of the cache is not used", "cause", err)
	default:
		s.log.Info("the cache is as it was", "responses", n, "took_s", time.Since(begin).Seconds())
	}
}

// Close saves what is in the cache, which serves no more, unless somebody else does.
func (s *snapshot) Close() error {
	if !s.passed {
		s.save(context.Background()) // a second signal ends it
	}
	return nil // all was served
}

// save saves what is in the cache.
func (s *snapshot) save(ctx context.Context) {
	begin := time.Now()
	n, err := s.pages.Save(ctx, s.path)
	if err != nil {
		s.log.Error("the cache will start empty", "cause", err)
		return
	}
	s.log.Info("the cache is saved", "responses", n, "took_s", time.Since(begin).Seconds())
}

// rulesVersion names what decides here on keys and on what is stored. Another release
// of the gateway may have other rules for a shop.
func rulesVersion(c config) string {
	release := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		release = info.Main.Version
	}
	return fmt.Sprintf("%#v", []any{release, c.shop, c.sticky, c.cacheTTL, c.lifetimes, c.devices, c.fill, c.bypass, c.bypassVar, c.ignoreNoVarySearch})
}

// checkSnapshot finds out whether a file can be written there, before it is to be.
func checkSnapshot(path string) error {
	const want = "want a file in a directory in which the gateway may write, such as /var/lib/gateway/pages"
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return errors.New("it is no regular file: " + want)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".gateway*")
	if err != nil {
		return fmt.Errorf("%w: %s", err, want)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
