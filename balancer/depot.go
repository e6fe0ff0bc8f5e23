package balancer

import (
	"errors"
	"net/netip"
	"os"
	"time"

	"github.com/foretier/foretier/internal/fair"
	"github.com/foretier/foretier/internal/transit"
)

// A Spool says where bodies are that are kept for slow clients and are longer
// than what is kept of one in memory, 1 MiB.
//
// Of requests, since no backend is picked before a body is there, so that a slow
// upload holds none. A body without a length, or of gRPC, may be one side of a
// dialogue: if it is not whole at once it goes through as it comes, as do bodies
// that there is no room for. Such may hold a quarter of the places that [Limits]
// gives, and those of one client an eighth, until they have come. Beyond, the first
// are read before a backend is picked, like all others, and the second answered
// with 503. A rule that says that its answers are streams has places of its own.
// What a rule's own limit counts (router.Limit.InFlight) is given up for as long
// as a body is waited for. If the rule has none left afterwards there is 429.
//
// Of responses, since they are read ahead of a client that falls behind, so that
// a slow reader holds no backend: its place is free once the body has been read
// from it, up to 1 GiB of which ahead. What a client keeps up with is never on the
// disk, nor is what must not be delayed: event streams, gRPC, upgrades, answers with
// "X-Accel-Buffering: no" or under a rule that says that they are streams. What
// there is no room for, neither in memory, of which all have 128 MiB and one
// client a quarter, nor on the disk, goes through as its client takes it, and
// holds its place until then or until there is room.
type Spool struct {
	// Dir is the directory for them, which is better not one in memory. The
	// files have no names. Empty: that of [os.TempDir]. If it takes nothing, that
	// is logged, once a second at most.
	Dir string
	// Bytes is how much requests and responses may take in all, and those of one
	// client a quarter of it. 0: 1 GiB. Negative: nothing is put on the disk.
	Bytes int64
}

const spoolDisk = 1 << 30 // Spool.Bytes by default

// errNoRoom means that a body cannot be kept: there is as much as may be.
var errNoRoom = errors.New("balancer: no room for a body")

// A depot is where a pool keeps bodies for slow clients. No client gets more than
// a quarter of anything.
type depot struct {
	dir     string
	most    int64         // bytes on the disk
	hold    time.Duration // for which an answer may be held
	disk    fair.Quota
	memory  fair.Quota // of requests
	answers fair.Quota // of memory too
	lines   transit.Lines
	fail    func(error) // is told, now and then, why the disk takes nothing
}

func (d *depot) init(p *proxy) {
	d.dir, d.most, d.hold = p.opts.Spool.Dir, max(p.opts.Spool.Bytes, 0), holdTime
	d.fail = func(err error) {
		p.log.Error("a body cannot be kept on the disk: see Options.Spool", "err", err)
	}
}

// tell tells of an error of the disk, if it is time to.
func (d *depot) tell(err error) {
	if _, ok := d.lines.Allow(time.Now()); ok {
		d.fail(err)
	}
}

// create opens a file. Without a name it goes with the process, however that ends.
func (d *depot) create() (*os.File, error) {
	f, err := os.CreateTemp(d.dir, "foretier-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close() // nothing is in it
		return nil, err
	}
	return f, nil
}

// A file is what of a client's body is on the disk. What has been appended may be
// read while more is, and while it is dropped; apart from that it is not safe for
// concurrent use. It is there from the first byte on that room was made for.
type file struct {
	depot    *depot
	client   netip.Addr
	disk     *os.File
	size     int64
	reserved int64 // of the depot's
}

func (d *depot) file(client netip.Addr) *file { return &file{depot: d, client: client} }

// len returns how much is in f, which may be nil.
func (f *file) len() int64 {
	if f == nil {
		return 0
	}
	return f.size
}

// reserve makes room for n more bytes, or returns errNoRoom.
func (f *file) reserve(n int64) error {
	d := f.depot
	if more := f.size + n - f.reserved; more > 0 {
		if !d.disk.Take(f.client, more, d.most, d.most/4) {
			return errNoRoom
		}
		f.reserved += more
	}
	if f.disk != nil {
		return nil
	}
	var err error
	if f.disk, err = d.create(); err != nil {
		d.tell(err)
		return errNoRoom
	}
	return nil
}

// room returns how much room was made that nothing has been put into.
func (f *file) room() int64 { return f.reserved - f.size }

// trim gives back the room that nothing has been put into.
func (f *file) trim() {
	if n := f.room(); n > 0 {
		f.reserved = f.size
		f.depot.disk.Give(f.client, n)
	}
}

// append writes p behind what is there, or returns errNoRoom.
func (f *file) append(p []byte) error {
	if err := f.reserve(int64(len(p))); err != nil {
		return err
	}
	if _, err := f.disk.WriteAt(p, f.size); err != nil {
		f.depot.tell(err)
		return errNoRoom
	}
	f.size += int64(len(p))
	return nil
}

// ReadAt implements [io.ReaderAt] for what has been appended.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.disk.ReadAt(p, off)
	if n == len(p) {
		return n, nil
	}
	if !errors.Is(err, os.ErrClosed) {
		f.depot.tell(err)
	}
	return n, err
}

// drop gives everything back.
func (f *file) drop() {
	if f.disk != nil {
		_ = f.disk.Close() // nobody wants to know any more
	}
	if f.reserved > 0 {
		f.depot.disk.Give(f.client, f.reserved)
	}
}
