package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache/internal/memory"
)

// fill stores some pages of a.example: /0 to /9, of 1,000 bytes, tagged each.
func fillFrom(h http.Handler) {
	for i := range 10 {
		get(h, fmt.Sprintf("http://a.example/%d", i))
	}
}

func numbered() *backend {
	return &backend{header: control("max-age=3600"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set("Cache-Tag", "page"+r.URL.Path[1:])
		fmt.Fprintf(w, "%s %1000d", r.URL.Path, n)
	}}
}

// snapshot returns one of ten pages.
func snapshot(t testing.TB, opts Options) []byte {
	t.Helper()
	c, h := open(t, opts, numbered())
	fillFrom(h)
	var out bytes.Buffer
	if n, err := c.save(context.Background(), &out); n != 10 || err != nil {
		t.Fatalf("%d responses, %v", n, err)
	}
	return out.Bytes()
}

func (c *Cache) loadBytes(data []byte) (int, error) {
	return c.load(context.Background(), bytes.NewReader(data), int64(len(data)))
}

// TestSnapshotAlone: without a feed nobody knows what was purged meanwhile. So what is
// restored is served at once, and not as fresh.
func TestSnapshotAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "pages")
		c, h := open(t, Options{}, numbered())
		fillFrom(h)
		c.Close()
		if n, err := c.Save(t.Context(), path); n != 10 || err != nil {
			t.Fatalf("%d responses, %v", n, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		time.Sleep(time.Minute)

		b := numbered()
		d, h := open(t, Options{}, b)
		if n, err := d.Load(t.Context(), path); n != 10 || err != nil {
			t.Fatalf("%d responses, %v", n, err)
		}
		time.Sleep(2 * time.Second)
		w := get(h, "http://a.example/3")
		if age, status := w.Header().Get("Age"), w.Header().Get("Cache-Status"); age != "62" || !strings.Contains(status, "hit; ttl=-2") {
			t.Errorf("Age %s, %s", age, status)
		}
		synctest.Wait()
		w = get(h, "http://a.example/3")
		if status := w.Header().Get("Cache-Status"); !strings.Contains(status, "hit; ttl=3600") || b.calls.Load() != 1 {
			t.Errorf("once it is refreshed: %s, after %d calls", status, b.calls.Load())
		}
		if done, err := d.Invalidate(t.Context(), Invalidation{Tags: []string{"page4"}, Hard: true}); done.Responses != 1 || err != nil {
			t.Errorf("%+v, %v", done, err)
		}
		time.Sleep(10 * time.Second)
		if status := get(h, "http://a.example/5").Header().Get("Cache-Status"); !strings.Contains(status, "fwd=stale") {
			t.Errorf("after grace: %s", status)
		}
		b.sick.Store(true)
		if status := get(h, "http://a.example/6").Header().Get("Cache-Status"); !strings.Contains(status, "hit; ttl=-12") {
			t.Errorf("after grace, the backend sick: %s", status)
		}
	})
}

// TestSnapshotKeepsWhatWas: what was stale, soft-purged or to be validated is so
// afterwards, and what is of no use any more has gone.
func TestSnapshotKeepsWhatWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("Cache-Control", map[string]string{
				"/short": "max-age=1, stale-if-error=2", "/purged": "max-age=60", "/etag": "max-age=1, must-revalidate"}[r.URL.Path])
			if r.URL.Path == "/etag" {
				w.Header().Set("Etag", `"a"`)
			}
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(304)
				return
			}
			fmt.Fprint(w, n)
		}}
		c, h := open(t, Options{}, b)
		for _, path := range []string{"/short", "/purged", "/etag"} {
			get(h, "http://a.example"+path)
		}
		c.Invalidate(t.Context(), Invalidation{URL: "http://a.example/purged"})
		time.Sleep(20 * time.Second)
		var out bytes.Buffer
		if n, err := c.save(t.Context(), &out); n != 2 || err != nil {
			t.Errorf("%d are saved, %v", n, err)
		}
		d, h := open(t, Options{}, b)
		if n, err := d.loadBytes(out.Bytes()); n != 2 || err != nil {
			t.Errorf("%d are loaded, %v", n, err)
		}
		if w := get(h, "http://a.example/purged"); w.Body.String() != "4" {
			t.Errorf("what was purged is %s", w.Body)
		}
		if w := get(h, "http://a.example/etag"); w.Body.String() != "3" || b.calls.Load() != 5 {
			t.Errorf("what is to be validated is %s, after %d calls", w.Body, b.calls.Load())
		}
	})
}

// TestSnapshotBroken: of what is not a whole snapshot nothing is stored, and there is an
// error.
func TestSnapshotBroken(t *testing.T) {
	good := snapshot(t, Options{})
	c, _ := open(t, Options{}, numbered())
	refused := func(name string, data []byte) {
		t.Helper()
		if n, err := c.loadBytes(data); n != 0 || err == nil || c.store.Stats().Count != 0 {
			t.Fatalf("%s: %d responses, %v", name, n, err)
		}
	}
	for n := range len(good) {
		refused(fmt.Sprintf("%d bytes", n), good[:n])
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1 << (i % 8)
		refused(fmt.Sprintf("bit of byte %d", i), bad)
	}
	refused("a byte more", append(slices.Clone(good), 0))
	refused("twice", append(slices.Clone(good), good...))
	refused("zeros", make([]byte, 1<<20))
	refused("sealed zeros", sealed(make([]byte, 1<<20)))
	refused("a page", []byte(strings.Repeat("<p>", 1000)))
	other := slices.Clone(good)
	other[15] = '2'
	refused("another version", sealed(other))

	frame := snapshotHeadLen
	for name, forge := range map[string]func(b []byte){
		"a long blob":  func(b []byte) { binary.LittleEndian.PutUint32(b[frame:], 1<<32-1) },
		"a short blob": func(b []byte) { binary.LittleEndian.PutUint32(b[frame:], 1) },
		"no blob":      func(b []byte) { clear(b[frame+snapshotFrameLen:]) },
	} {
		bad := slices.Clone(good)
		forge(bad)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		refused(name, sealed(bad))
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 1<<20 {
			t.Errorf("%s: %d bytes were allocated", name, after.TotalAlloc-before.TotalAlloc)
		}
	}
	hot := slices.Clone(good)
	hot[frame+4] = 255
	if n, err := c.loadBytes(sealed(hot)); n != 10 || err != nil {
		t.Errorf("unheard-of heat: %d, %v", n, err)
	}
}

// TestSnapshotOfOtherRules: a key of other rules may mean another page.
func TestSnapshotOfOtherRules(t *testing.T) {
	opts := Options{Rules: Rules{Version: "1"}}
	c, _ := open(t, Options{Rules: Rules{Version: "2"}}, numbered())
	if n, err := c.loadBytes(snapshot(t, opts)); n != 0 || !errors.Is(err, errRules) {
		t.Errorf("%d, %v", n, err)
	}
	c, _ = open(t, opts, numbered())
	if n, err := c.loadBytes(snapshot(t, opts)); n != 10 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// TestSnapshotFromTheFuture: by a clock that has gone back nothing is fresh, whatever it
// says, and nothing has been purged later than now.
func TestSnapshotFromTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, h := open(t, Options{}, numbered())
		past := time.Now()
		time.Sleep(365 * 24 * time.Hour)
		fillFrom(h)
		a.Invalidate(t.Context(), Invalidation{Tags: []string{"page1"}})
		a.follower = newFollower(a) // it would say that it is proved
		a.follower.applied = 1
		var out bytes.Buffer
		if _, err := a.save(t.Context(), &out); err != nil {
			t.Fatal(err)
		}

		c, h := open(t, Options{}, numbered())
		// Time cannot go back here. So what is read is told how it was.
		data := out.Bytes()
		l := &loading{cache: c, began: past}
		for in := data[snapshotHeadLen:]; ; {
			n := int(binary.LittleEndian.Uint32(in))
			if n == 0 {
				break
			}
			l.blob = in[snapshotFrameLen:][:n]
			if err := l.add(0); err != nil {
				t.Fatal(err)
			}
			in = in[snapshotFrameLen+n:]
		}
		if l.stored != 10 {
			t.Fatalf("%d are stored", l.stored)
		}
		c.store.Each(func(e *memory.Entry) bool {
			if e.Purged() != past.UnixNano() {
				t.Errorf("%s is fresh until %v", e.URL, time.Unix(0, e.Purged()))
			}
			return false
		})
		if status := get(h, "http://a.example/1").Header().Get("Cache-Status"); !strings.Contains(status, "fwd=stale") {
			t.Errorf("the clock is right again: %s", status)
		}

		f, _ := open(t, Options{}, numbered())
		f.follower = newFollower(f)
		binary.LittleEndian.PutUint64(data[24:], uint64(time.Now().Add(time.Second).UnixNano()))
		if n, err := f.loadBytes(sealed(data)); n != 10 || err != nil || f.follower.from != 0 {
			t.Errorf("%d, %v; goes on from %d", n, err, f.follower.from)
		}
	})
}

// TestSnapshotRoom: with less room than before, what was hottest is there, and nothing
// has made room for anything.
func TestSnapshotRoom(t *testing.T) {
	c, h := open(t, Options{MaxBytes: 8 << 20}, numbered())
	hot := func(i int) bool { return i%10 == 0 }
	for i := range 4000 {
		get(h, fmt.Sprintf("http://a.example/%d", i))
		if hot(i) {
			get(h, fmt.Sprintf("http://a.example/%d", i))
		}
	}
	var out bytes.Buffer
	if n, err := c.save(t.Context(), &out); n != 4000 || err != nil {
		t.Fatal(n, err)
	}
	d, _ := open(t, Options{MaxBytes: 1 << 20}, numbered())
	n, err := d.loadBytes(out.Bytes())
	if s := d.store.Stats(); err != nil || s.Count != n || s.Evictions != 0 || s.Used > s.Max || s.Used < s.Max*9/10 {
		t.Errorf("%d loaded, %v: %+v", n, err, s)
	}
	there := 0
	for i := range 4000 {
		if e := d.store.Get(fmt.Appendf(nil, "a.example/%d", i), func(*memory.Entry) bool { return true }); e != nil {
			d.store.Release(e)
			if hot(i) {
				there++
			}
		}
	}
	if there != 400 {
		t.Errorf("%d of 400 are there that are hot, of %d", there, n)
	}
}

// TestSnapshotBounded: a snapshot is no larger than what may be stored.
func TestSnapshotBounded(t *testing.T) {
	c, h := open(t, Options{MaxBytes: 1 << 20}, numbered())
	for i := range 2000 {
		get(h, fmt.Sprintf("http://a.example/%d", i))
	}
	c.opts.MaxBytes = 100 << 10 // as if blobs were larger than what they are made of
	var out bytes.Buffer
	n, err := c.save(t.Context(), &out)
	if d, _ := open(t, Options{}, numbered()); err != nil || out.Len() > 101<<10 || n < 80 {
		t.Errorf("%d responses in %d bytes, %v", n, out.Len(), err)
	} else if loaded, err := d.loadBytes(out.Bytes()); loaded != n || err != nil {
		t.Errorf("%d of %d loaded, %v", loaded, n, err)
	}
}

// full is a disk with so many bytes left.
type full int

func (f *full) Write(p []byte) (int, error) {
	if n := int(*f); n < len(p) {
		*f = 0
		return n, syscall.ENOSPC
	}
	*f -= full(len(p))
	return len(p), nil
}

// TestSnapshotDiskFull: wherever a disk is full it is an error.
func TestSnapshotDiskFull(t *testing.T) {
	c, h := open(t, Options{}, numbered())
	for i := range 300 {
		get(h, fmt.Sprintf("http://a.example/%d", i))
	}
	var out bytes.Buffer
	if _, err := c.save(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	for left := full(0); int(left) < out.Len(); left += 1013 {
		room := left
		if n, err := c.save(t.Context(), &room); n != 0 || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%d bytes left: %d, %v", left, n, err)
		}
	}
	if s := c.store.Stats(); s.Loose != 0 || s.Count != 300 {
		t.Errorf("something is held: %+v", s)
	}
}

// TestSnapshotFiles: what cannot be written leaves what was there, and nothing else;
// what cannot be read is an error, at once.
func TestSnapshotFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pages")
	c, h := open(t, Options{}, numbered())
	fillFrom(h)
	names := func() (list []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			list = append(list, e.Name())
		}
		return list
	}
	if _, err := c.Load(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none there: %v", err)
	}
	for _, name := range []string{"pages.1" + unfinished, "pages.2" + unfinished} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "pages.1"+unfinished), old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Save(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if list := names(); !slices.Equal(list, []string{"pages", "pages.2" + unfinished}) {
		t.Errorf("%q are there; what is old was left by who was killed", list)
	}
	os.Remove(filepath.Join(dir, "pages.2"+unfinished))

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Save(ended, path); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
	if _, err := c.Load(ended, path); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
	if list := names(); !slices.Equal(list, []string{"pages"}) {
		t.Errorf("%q are there", list)
	}
	if _, err := c.Save(t.Context(), filepath.Join(dir, "none", "pages")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such directory: %v", err)
	}
	if _, err := c.Save(t.Context(), filepath.Join(path, "below")); err == nil {
		t.Error("a file for a directory")
	}
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Save(t.Context(), filepath.Join(dir, "taken")); err == nil {
		t.Error("a directory is in the place")
	}
	if _, err := c.Load(t.Context(), filepath.Join(dir, "taken")); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a directory: %v", err)
	}
	if _, err := c.Load(t.Context(), os.DevNull); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a device: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Load(t.Context(), filepath.Join(dir, "empty")); !errors.Is(err, errSnapshot) {
		t.Errorf("nothing in it: %v", err)
	}
	huge := filepath.Join(dir, "huge") // it would take minutes to read
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, 1<<40); err == nil {
		if _, err := c.Load(t.Context(), huge); !errors.Is(err, errSnapshot) {
			t.Errorf("a huge one of something else: %v", err)
		}
	}
	os.Remove(huge)
	if list := names(); !slices.Equal(list, []string{"empty", "pages", "taken"}) {
		t.Errorf("%q are there", list)
	}
	d, _ := open(t, Options{}, numbered())
	if n, err := d.Load(t.Context(), path); n != 10 || err != nil {
		t.Errorf("after all that: %d, %v", n, err)
	}
}

// TestSnapshotByTwo: two gateways may write one file while a third reads it, and visitors
// come and purges: whoever reads has a whole one.
func TestSnapshotByTwo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pages")
	var wg sync.WaitGroup
	for range 2 {
		c, h := open(t, Options{MaxBytes: 1 << 20}, numbered())
		fillFrom(h)
		if _, err := c.Save(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for range 30 {
				if _, err := c.Save(context.Background(), path); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for i := range 3000 {
				get(h, fmt.Sprintf("http://a.example/%d", i%1500))
				if i%100 == 0 {
					c.Invalidate(context.Background(), Invalidation{Tags: []string{"page7"}, Hard: true})
				}
			}
		})
	}
	for range 30 {
		d, _ := open(t, Options{}, numbered())
		if n, err := d.Load(t.Context(), path); n < 5 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	wg.Wait()
}

// interrupted is a snapshot during whose reading something happens.
type interrupted struct {
	*bytes.Reader
	reads int
	now   func(read int)
}

func (r *interrupted) ReadAt(p []byte, at int64) (int, error) {
	r.reads++
	r.now(r.reads)
	return r.Reader.ReadAt(p, at)
}

// TestSnapshotPurgedMeanwhile: a purge that comes while pages are read counts for those
// that are read after it, and what visitors have fetched by then is newer.
func TestSnapshotPurgedMeanwhile(t *testing.T) {
	data := snapshot(t, Options{})
	c, h := open(t, Options{}, numbered())
	from := &interrupted{Reader: bytes.NewReader(data), now: func(read int) {
		if read == 2 { // the first is of the head
			c.Invalidate(t.Context(), Invalidation{Tags: []string{"page3"}, Hard: true}, Invalidation{URL: "http://a.example/4", Hard: true})
			get(h, "http://a.example/5")
		}
	}}
	if n, err := c.load(t.Context(), from, int64(len(data))); n != 7 || err != nil || from.reads < 2 {
		t.Errorf("%d, %v; %d reads", n, err, from.reads)
	}
	for path, want := range map[string]string{"/3": "fwd=uri-miss", "/4": "fwd=uri-miss", "/5": "hit; ttl=3", "/6": "hit; ttl=-1"} {
		if status := get(h, "http://a.example"+path).Header().Get("Cache-Status"); !strings.Contains(status, want) {
			t.Errorf("%s: %s", path, status)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	d, _ := open(t, Options{}, numbered())
	from = &interrupted{Reader: bytes.NewReader(data), now: func(read int) {
		if read == 2 {
			cancel()
		}
	}}
	if n, err := d.load(ctx, from, int64(len(data))); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %d, %v", n, err)
	}
	d, _ = open(t, Options{}, numbered())
	broken := errors.New("the disk is broken")
	if n, err := d.load(t.Context(), io.NewSectionReader(readsThenFails{bytes.NewReader(data), broken}, 0, 1<<20), int64(len(data))); n != 0 || !errors.Is(err, broken) {
		t.Errorf("%d, %v", n, err)
	}
}

type readsThenFails struct {
	io.ReaderAt
	err error
}

func (r readsThenFails) ReadAt(p []byte, at int64) (int, error) { return 0, r.err }

// BenchmarkSnapshot saves and loads 256 MiB of pages of 16 KiB on a disk.
func BenchmarkSnapshot(b *testing.B) {
	path := filepath.Join(b.TempDir(), "pages")
	c, h := open(b, Options{}, page(16<<10))
	for i := 0; c.store.Stats().Used < 250<<20; i++ {
		get(h, fmt.Sprintf("http://a.example/%d", i))
	}
	for b.Loop() {
		begin := time.Now()
		n, err := c.Save(b.Context(), path)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(begin).Seconds(), "s/save")
		begin = time.Now()
		d, _ := open(b, Options{}, page(1))
		if m, err := d.Load(b.Context(), path); m < n*99/100 || err != nil {
			b.Fatal(m, n, err)
		}
		b.ReportMetric(time.Since(begin).Seconds(), "s/load")
	}
}

// FuzzSnapshot reads what has the right checksum, and is something else otherwise.
func FuzzSnapshot(f *testing.F) {
	c, h := open(f, Options{}, numbered())
	get(h, "http://a.example/1")
	get(h, "http://a.example:8080/%7e2?a=b")
	var out bytes.Buffer
	if _, err := c.save(context.Background(), &out); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Add(out.Bytes()[:snapshotHeadLen+snapshotFrameLen+crc32.Size])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, b := range [][]byte{data, sealed(data)} {
			d, _ := open(t, Options{}, numbered())
			n, err := d.loadBytes(b)
			if s := d.store.Stats(); s.Count != n || n > 0 && len(b) < n*blobHeadLen {
				t.Errorf("%d loaded, %v, %d stored", n, err, s.Count)
			}
			if _, err := d.save(t.Context(), io.Discard); err != nil {
				t.Errorf("what was loaded cannot be saved: %v", err)
			}
			d.store.Each(func(*memory.Entry) bool { return true })
			if s := d.store.Stats(); s.Used != 0 || s.Tags != 0 {
				t.Errorf("something is left: %+v", s)
			}
		}
	})
}
