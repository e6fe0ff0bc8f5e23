package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Save writes a snapshot of what is stored to a file, for [Cache.Load] after a restart,
// and returns of how many responses: the hottest, and no more bytes than MaxBytes. It
// has mode 0600, since it holds what visitors see, and takes the place of one that is
// there once it is whole and on the disk; of an error nothing is left. Parts of
// responses are not in it, nor what is of no use any more. It ends with ctx, with its
// error. It may be called at any time, and misses nothing once Run, and what serves, has
// returned. Several gateways may save to one file: the last one's is there.
func (c *Cache) Save(ctx context.Context, path string) (responses int, err error) {
	dir, name := filepath.Dir(path), filepath.Base(path)
	sweep(dir, name)
	f, err := os.CreateTemp(dir, name+".*"+unfinished) // of mode 0600; another gateway may write the same
	if err != nil {
		return 0, fmt.Errorf("cache: save a snapshot: %w", err)
	}
	n, err := c.save(ctx, f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the next one sweeps
		return 0, fmt.Errorf("cache: save a snapshot to %s: %w", path, err)
	}
	if d, err := os.Open(dir); err == nil { // not all systems can
		_ = d.Sync()
		_ = d.Close()
	}
	return n, nil
}

// Load stores what a snapshot holds that [Cache.Save] has written, the hottest first, as
// long as there is room, and returns how many responses. What is stored already stays.
// It is called before the cache serves, and before Run: later nothing is proved by
// the feed.
//
// With [Options.Feed] what was invalidated since is applied when the cache begins to
// follow it; until then, as whenever it is cut off, all is served as stale within grace.
// If the feed does not reach back so far, or there is none, or the clock has gone back,
// it is as if all had been purged softly, just now: served for Grace more while it is
// refreshed, then fetched.
//
// Of a file that is damaged, or from a cache with another [Rules.Version], nothing is
// stored: there is an error, and nothing else to be done about it than to log it. That of
// a file that is not there wraps [os.ErrNotExist]. It ends with ctx, with its error; what
// is stored by then stays.
func (c *Cache) Load(ctx context.Context, path string) (responses int, err error) {
	n, err := c.loadFile(ctx, path)
	if err != nil {
		return n, fmt.Errorf("cache: load the snapshot %s: %w", path, err)
	}
	return n, nil
}

func (c *Cache) loadFile(ctx context.Context, path string) (int, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() { // to open a pipe may take for ever
		return 0, errors.New("it is no regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return 0, err
	}
	return c.load(ctx, f, info.Size())
}

// unfinished ends the name of a file that is being written.
const unfinished = ".unfinished"

// sweep removes what a gateway has left behind that was killed while it wrote.
func sweep(dir, name string) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return // to write there fails too, and says why
	}
	for _, entry := range list {
		if !strings.HasPrefix(entry.Name(), name+".") || !strings.HasSuffix(entry.Name(), unfinished) {
			continue
		}
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > time.Hour {
			_ = os.Remove(filepath.Join(dir, entry.Name())) // it may be another's
		}
	}
}
