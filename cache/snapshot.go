package cache

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
)

// A snapshot is a head, blobs, each behind a frame, a frame without a blob, and a
// CRC-32C of all that; integers are little-endian. What is hottest comes first, and of
// one URL what is oldest.
type (
	snapshotHead struct {
		Magic   [16]byte
		Rules   uint64   // a hash of [Rules.Version]
		Saved   int64    // in Unix nanoseconds
		Applied Position // of the feed, as a blob's; zero: there was none
	}
	snapshotFrame struct {
		Length uint32 // of the blob; zero: there is no more
		Heat   memory.Heat
	}
)

// snapshotMagic ends in the version of the form.
var snapshotMagic = [16]byte([]byte("foretier pages 1"))

var (
	snapshotHeadLen  = binary.Size(snapshotHead{})
	snapshotFrameLen = binary.Size(snapshotFrame{})
)

var (
	errSnapshot = errors.New("not a snapshot, or not a whole one")
	errRules    = errors.New("written under other Rules")
)

// save writes a snapshot of what is stored, of no more bytes than may be stored, and
// returns of how many responses.
func (c *Cache) save(ctx context.Context, to io.Writer) (n int, err error) {
	sum := crc32.New(castagnoli)
	out := bufio.NewWriterSize(io.MultiWriter(to, sum), 64<<10)
	now := time.Now()
	head := snapshotHead{Magic: snapshotMagic, Rules: hashTag(c.opts.Rules.Version), Saved: now.UnixNano()}
	if c.follower != nil {
		head.Applied = c.follower.upToHere() // first: what is applied later is no loss
	}
	buf, _ := binary.Append(nil, binary.LittleEndian, &head)
	if _, err := out.Write(buf); err != nil {
		return 0, err
	}
	room := c.opts.MaxBytes
	for _, url := range c.store.ByHeat() {
		for _, e := range c.store.Chain(url) {
			ok := err == nil && c.worthSaving(e, now)
			if ok {
				buf, ok = appendBlob(buf[:0], e, c.surely(head.Applied, e, now))
			}
			if size := int64(len(buf)); ok && size <= min(room, math.MaxUint32) {
				n++
				room -= size
				err = errors.Join(writeFrame(out, c.store.Heat(e), buf), ctx.Err())
			}
			c.store.Release(e)
		}
		if err != nil {
			return 0, err
		}
	}
	if err := writeFrame(out, 0, nil); err != nil {
		return 0, err
	}
	if err := out.Flush(); err != nil {
		return 0, err
	}
	return n, binary.Write(to, binary.LittleEndian, sum.Sum32())
}

func writeFrame(out io.Writer, heat memory.Heat, blob []byte) error {
	var buf [8]byte
	head, _ := binary.Append(buf[:0], binary.LittleEndian, &snapshotFrame{Length: uint32(len(blob)), Heat: heat})
	if _, err := out.Write(head); err != nil {
		return err
	}
	_, err := out.Write(blob)
	return err
}

// worthSaving reports whether e may still be of use, if only to be validated.
func (c *Cache) worthSaving(e *memory.Entry, now time.Time) bool {
	late := time.Duration(now.UnixNano() - e.FreshUntil)
	return late < time.Duration(max(e.Grace, e.ErrorGrace, e.Keep)) || law.Reuse(c.stored(e), nil, now.UnixNano()) != law.Ask
}

// surely returns up to where it is known which invalidations have hit e, if all up to a
// position have been applied to what is stored.
func (c *Cache) surely(applied Position, e *memory.Entry, now time.Time) Position {
	if c.follower == nil || !c.follower.doubt.sure(e.Asked, now) {
		return 0
	}
	return applied
}

// load stores what is in a snapshot of size bytes, and returns how many responses. None
// is stored if it is not whole.
func (c *Cache) load(ctx context.Context, from io.ReaderAt, size int64) (n int, err error) {
	l := &loading{cache: c, began: time.Now(), position: c.log.head()}
	in := &io.LimitedReader{R: bufio.NewReaderSize(io.NewSectionReader(from, 0, size-crc32.Size), 64<<10), N: size - crc32.Size}
	head, err := c.readHead(in) // first: another file may be large
	if err != nil {
		return 0, err
	}
	if err := verify(ctx, from, size); err != nil {
		return 0, err
	}
	l.proved = head.Saved <= l.began.UnixNano() && c.follower != nil && c.follower.goOn(head.Applied)
	for err == nil && ctx.Err() == nil {
		var heat memory.Heat
		if heat, err = l.read(in); err != nil || len(l.blob) == 0 {
			break
		}
		err = l.add(heat)
	}
	if errors.Is(err, errFull) {
		err = nil
	}
	return l.stored, errors.Join(err, ctx.Err())
}

// readHead reads how a snapshot begins.
func (c *Cache) readHead(in io.Reader) (head snapshotHead, err error) {
	if err := binary.Read(in, binary.LittleEndian, &head); err != nil {
		return head, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	switch {
	case head.Magic != snapshotMagic:
		return head, errSnapshot
	case head.Rules != hashTag(c.opts.Rules.Version):
		return head, errRules
	}
	return head, nil
}

// verify reads all of a snapshot once, before anything in it is believed.
func verify(ctx context.Context, from io.ReaderAt, size int64) error {
	end := size - crc32.Size
	if end < int64(snapshotHeadLen+snapshotFrameLen) {
		return errSnapshot
	}
	sum, buf := crc32.New(castagnoli), make([]byte, 64<<10)
	for at := int64(0); at < end; {
		piece := buf[:min(int64(len(buf)), end-at)]
		n, err := from.ReadAt(piece, at)
		if n < len(piece) {
			return fmt.Errorf("%w: %w", errSnapshot, err)
		}
		sum.Write(piece)
		if at += int64(n); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if n, err := from.ReadAt(buf[:crc32.Size], end); n < crc32.Size {
		return fmt.Errorf("%w: %w", errSnapshot, err)
	}
	if binary.LittleEndian.Uint32(buf) != sum.Sum32() {
		return errSnapshot
	}
	return nil
}

// errFull is why no more is loaded.
var errFull = errors.New("cache: there is no room for more")

// A loading is a snapshot that is being read.
type loading struct {
	cache    *Cache
	began    time.Time
	position Position // of the cache's own log, before anything was read
	proved   bool     // what has been invalidated since can be known from the feed
	blob     []byte
	stored   int
}

// read reads the next blob, which is empty if there is no more, and its heat.
func (l *loading) read(in *io.LimitedReader) (memory.Heat, error) {
	var frame snapshotFrame
	if err := binary.Read(in, binary.LittleEndian, &frame); err != nil {
		return 0, err
	}
	n := int64(frame.Length)
	if n > in.N {
		return 0, errSnapshot
	}
	if n > int64(cap(l.blob)) {
		l.blob = make([]byte, n)
	}
	l.blob = l.blob[:n]
	_, err := io.ReadFull(in, l.blob)
	return frame.Heat, err
}

// add stores what is in the blob. What may have been invalidated without our knowing is
// taken to have been, softly, just now.
func (l *loading) add(heat memory.Heat) error {
	e, applied, err := readBlob(l.blob, l.began)
	if err != nil {
		return err
	}
	c := l.cache
	if e.Len() > c.opts.MaxBody || !c.worthSaving(e, l.began) {
		return nil
	}
	e.Asked = restored
	if !l.proved || applied == 0 {
		e.Purge(l.began)
	}
	name := nameOf(e.URL)
	c.admit(e, name)
	stored, full := c.store.Restore(e, heat,
		func(old *memory.Entry) bool { return sameKey(old, e) },
		func() bool { return c.stands(l.position, e, name) })
	switch {
	case full:
		return errFull
	case stored:
		l.stored++
		c.learn(e)
		c.figures.restored.Add(1)
	}
	return nil
}
