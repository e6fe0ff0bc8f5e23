package memory

import (
	"math/bits"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// An Entry is a stored response. What is exported is set before Add and never
// changes afterwards.
type Entry struct {
	URL    string // host, path and query, to the byte
	Head   string // the header as on the wire: "Name: value\r\n" a line, equal names adjacent
	Body   []byte
	Status uint16
	HTTPS  bool
	Flags  Flags
	Cost   uint32 // milliseconds that it took to fetch
	More   *More  // what few responses have; may be nil

	// Times in Unix nanoseconds, durations in nanoseconds.
	Born                    int64 // when its age was zero
	FreshUntil              int64
	Grace, ErrorGrace, Keep int64 // from FreshUntil on
	purged                  atomic.Int64
	refreshing              atomic.Int64 // not to be refreshed before

	next         *Entry  // in its URL's chain, newest first; guarded by the shard
	newer, older *Entry  // in its queue; guarded by Store.mu
	size         int64   // guarded by Store.mu
	queue        queueID // guarded by Store.mu
	given        bool    // its readers are given up; written under Store.mu and pinning
	stuck        bool    // they cannot be; guarded by Store.mu
	freq         atomic.Uint32
	refs         atomic.Int32 // 1 for the store, and 1 for each reader
	Asked        uint32       // when the backend was, in a count of the cache's own; here four bytes are free
	pins         *Pin         // guarded by the shard's pinning
	beside       atomic.Pointer[beside]
}

// More is what few responses have.
type More struct {
	Parts   string   // what a rule added to the key
	Vary    string   // the selecting fields
	Variant string   // their values
	Tags    []uint64 // hashes, each once; those of names too
	Chunks  [][]byte // the body behind Body

	// Of a part: the Range that brought it, and where it stands in what.
	Range        string
	First, Total int64

	places []int32 // places[i]: where the entry stands in the list of Tags[i]
}

// Flags are what the law found out about a response.
type Flags uint8

const (
	Validate  Flags = 1 << iota // not to be reused without validation
	NoStale                     // not to be served stale
	Immutable                   // RFC 8246
	Public                      // says itself that it is for all, those with Authorization too
	Part                        // holds a part: see More.Range
	Codable                     // may have forms: see Store.AddForm
	Spread                      // answers for more than its own URL
	endOfFlags
)

// Known are all of them.
const Known = endOfFlags - 1

// Len returns the length of the body in bytes.
func (e *Entry) Len() int64 {
	n := int64(len(e.Body))
	if e.More != nil {
		for _, c := range e.More.Chunks {
			n += int64(len(c))
		}
	}
	return n
}

// Age returns the age in seconds (RFC 9111, section 4.2.3).
func (e *Entry) Age(now time.Time) int64 {
	return max(0, now.UnixNano()-e.Born) / int64(time.Second)
}

// TTL returns for how many seconds it is fresh, negative if it is not any more:
// its lifetime has ended, or a soft purge has ended it.
func (e *Entry) TTL(now time.Time) int64 {
	until := e.FreshUntil
	if p := e.Purged(); p != 0 {
		until = min(until, p)
	}
	d := until - now.UnixNano()
	if d <= 0 { // at its very end, too: 0 is fresh for less than a second
		return min(-1, (d-int64(time.Second)+1)/int64(time.Second))
	}
	return d / int64(time.Second)
}

// Parts returns what a rule added to the key.
func (e *Entry) Parts() string {
	if e.More == nil {
		return ""
	}
	return e.More.Parts
}

// Vary returns the selecting fields and their values.
func (e *Entry) Vary() (fields, variant string) {
	if e.More == nil {
		return "", ""
	}
	return e.More.Vary, e.More.Variant
}

// Purge makes the entry stale from now on and reports whether no earlier call
// has.
func (e *Entry) Purge(now time.Time) bool {
	return e.purged.CompareAndSwap(0, now.UnixNano())
}

// Purged returns when a soft purge hit the entry, in Unix nanoseconds, or 0.
func (e *Entry) Purged() int64 { return e.purged.Load() }

// Refresh reports whether the caller is to refresh the entry: one in every
// period is.
func (e *Entry) Refresh(now time.Time, period time.Duration) bool {
	last := e.refreshing.Load()
	return now.UnixNano() >= abs(last) && e.refreshing.CompareAndSwap(last, now.Add(period).UnixNano())
}

// RefreshDue tells what Refresh would report, and changes nothing.
func (e *Entry) RefreshDue(now time.Time) bool { return now.UnixNano() >= abs(e.refreshing.Load()) }

// Refreshed lets the next caller of Refresh have it at once.
func (e *Entry) Refreshed() { e.refreshing.Store(0) }

// RefreshLater has Refresh be false until the time given.
func (e *Entry) RefreshLater(than time.Time) { e.refreshing.Store(than.UnixNano()) }

// Rest says that asking for the entry failed, and is not to be tried again
// before the time given.
func (e *Entry) Rest(until time.Time) { e.refreshing.Store(-until.UnixNano()) }

// Resting reports whether asking failed just now.
func (e *Entry) Resting(now time.Time) bool {
	last := e.refreshing.Load()
	return last < 0 && now.UnixNano() < -last
}

func abs(n int64) int64 { return max(n, -n) }

// overhead is what an entry costs beyond its texts and body: itself, its place
// in the map and among the ghosts. tagOverhead is what a tag does that no other
// entry carries: hash, place, list and place in the index.
const (
	overhead    = 192 + 50
	tagOverhead = 8 + 4 + 16 + 56
)

// cost returns what e takes of the heap, in bytes.
func (e *Entry) cost() int64 {
	n := overhead + Sized(len(e.URL)) + Sized(len(e.Head)) + Sized(cap(e.Body))
	if m := e.More; m != nil {
		n += 192 + Sized(len(m.Range)) + Sized(len(m.Parts)) + Sized(len(m.Vary)) + Sized(len(m.Variant))
		n += int64(len(m.Tags)) * tagOverhead
		n += int64(len(m.Chunks)) * 24
		for _, c := range m.Chunks {
			n += Sized(cap(c))
		}
	}
	if b := e.beside.Load(); b != nil {
		for i := range b.forms {
			if f := b.forms[i].Load(); f != nil {
				n += f.formCost()
			}
		}
	}
	return n
}

// Sized returns what n bytes take of the heap: the allocator rounds up, to an
// eighth of a power of two for what is small, else to pages of 8 KiB.
func Sized(n int) int64 {
	switch {
	case n == 0:
		return 0
	case n <= 128:
		return int64(n+15) &^ 15
	case n > 32<<10:
		return int64(n+8191) &^ 8191
	}
	step := 1 << max(4, bits.Len(uint(n-1))-4)
	return int64(n+step-1) &^ int64(step-1)
}

// SetBody gives the entry its body, before Add.
func (e *Entry) SetBody(chunks [][]byte) {
	if len(chunks) > 0 {
		e.Body = chunks[0]
	}
	if len(chunks) > 1 {
		if e.More == nil {
			e.More = new(More)
		}
		e.More.Chunks = chunks[1:]
	}
}

// Chunks returns the body.
func (e *Entry) Chunks() [][]byte {
	out := [][]byte{e.Body}
	if e.More != nil {
		out = append(out, e.More.Chunks...)
	}
	return out
}

// Whole returns a copy of the entry, which others may be reading, with its body
// and, unless length is negative, with Content-Length.
func (e *Entry) Whole(chunks [][]byte, length int64) *Entry {
	n := &Entry{
		URL: e.URL, Head: e.Head, Status: e.Status, HTTPS: e.HTTPS, Flags: e.Flags, Cost: e.Cost, Asked: e.Asked,
		Born: e.Born, FreshUntil: e.FreshUntil, Grace: e.Grace, ErrorGrace: e.ErrorGrace, Keep: e.Keep,
	}
	if m := e.More; m != nil {
		n.More = &More{Parts: m.Parts, Vary: m.Vary, Variant: m.Variant, Tags: m.Tags, Range: m.Range, First: m.First, Total: m.Total}
	}
	if length >= 0 {
		n.Head += "Content-Length: " + strconv.FormatInt(length, 10) + "\r\n"
	}
	n.SetBody(chunks)
	return n
}

// Mark notes that the entry was asked for, as [Store.Get] does.
func (e *Entry) Mark() {
	if f := e.freq.Load(); f < 3 {
		e.freq.Store(f + 1)
	}
}

// HasTag reports whether the entry carries a tag.
func (e *Entry) HasTag(tag uint64) bool { return e.More != nil && slices.Contains(e.More.Tags, tag) }
