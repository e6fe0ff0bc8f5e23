// Package memo holds what an edge has learned of answers: their heads, beside
// the stored responses that they were made from.
package memo

import (
	"hash/maphash"
	"log/slog"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/transit"
)

// A Key is all that an answer depends on.
type Key struct {
	HTTPS  bool
	Coding uint8 // see [fields.CodingClass]
	Same   bool  // the client's copy is the answer: 304
	Host   string
	Target string // as sent
}

// A Memo is what is known of an answer. But for what is its table's, it never
// changes. It implements [transit.Memo].
type Memo struct {
	Key
	Answer Answer
	Page   transit.Page
	Stages []transit.Stage
	Notes  []Note                  // for the log line
	Tag    string                  // the ETag of the answer; empty: it has none
	Said   [2]atomic.Pointer[Said] // over HTTP/1.1 and HTTP/2

	table  *Table
	hash   uint64
	next   atomic.Pointer[Memo] // in its bucket
	ended  atomic.Bool
	linked bool // guarded by table.mu
}

// A Note is what a stage has left for the log line.
type Note struct {
	Part  string
	Value slog.Value // resolved: it is the same each time
}

// Said is what the log line of each such answer says alike, as it has been written once.
type Said struct {
	JSON    bool   // else text
	Odd     bool   // it has to be written anew each time
	Request []byte // from the method to the bytes sent
	Notes   []byte
}

// saidSize is what Said takes, but for what the client has sent, of which lines have no
// more than saidMost.
const (
	saidSize = 288
	saidMost = 256
)

// memoSize is what a memo takes beside its texts: itself, its place in the table
// and beside the stored response, and that response's page.
const memoSize = 488

// Size returns how many bytes m takes.
func (m *Memo) Size() int64 {
	n := memoSize + len(m.Host) + len(m.Target) + len(m.Tag) + 32*len(m.Stages) + 40*len(m.Notes)
	n += 2 * (saidSize + min(len(m.Host), saidMost) + min(len(m.Target), saidMost))
	return int64(n + m.Answer.Size() + 16*len(m.Answer.Head))
}

// Open reports whether m may answer at now, as [transit.Page.Open] does.
func (m *Memo) Open(now time.Time, hold bool) (age, ttl int64, ok bool) {
	if m.ended.Load() {
		return 0, 0, false
	}
	for i := range m.Stages {
		if !m.Stages[i].Holds() {
			return 0, 0, false
		}
	}
	if age, ttl, ok = m.Page.Open(now, hold); ok {
		for i := range m.Stages {
			if counts := m.Stages[i].Counts; counts != nil {
				counts.CountInstant(m.Answer.Status)
			}
		}
	}
	return age, ttl, ok
}

// End implements [transit.Memo].
func (m *Memo) End() {
	m.ended.Store(true)
	m.table.remove(m)
}

// A Table holds memos by their keys. It is safe for concurrent use; lookups take
// no lock. The zero Table is empty.
//
// It holds memos only that are kept beside a stored response, each for as long
// as that is: what bounds those bounds the table.
type Table struct {
	seed  atomic.Pointer[maphash.Seed]
	lists atomic.Pointer[[]atomic.Pointer[Memo]] // a power of two of them

	mu sync.Mutex
	n  int // guarded by mu
}

const minLists = 64

// hash is 0 for a table that was never filled.
func (t *Table) hash(k *Key) uint64 {
	seed := t.seed.Load()
	if seed == nil {
		return 0
	}
	h := maphash.String(*seed, k.Target) ^ 3*maphash.String(*seed, k.Host) + uint64(k.Coding)
	if k.HTTPS {
		h = ^h
	}
	if k.Same {
		h = bits.ReverseBytes64(h)
	}
	return h
}

// Get returns the memo of a key, or nil.
func (t *Table) Get(k *Key) *Memo {
	lists := t.lists.Load()
	if lists == nil {
		return nil
	}
	h := t.hash(k)
	// While the table grows one may be overlooked; then the chain answers.
	for m := (*lists)[h&uint64(len(*lists)-1)].Load(); m != nil; m = m.next.Load() {
		if m.hash == h && m.Key == *k {
			return m
		}
	}
	return nil
}

// Learn has m answered from, in place of what was there for its key, if its page
// keeps it.
func (t *Table) Learn(m *Memo) bool {
	m.table = t
	if !m.Page.Keep(m, m.Size()) {
		return false
	}
	old := t.put(m)
	if old != nil {
		old.ended.Store(true)
		old.Page.Forget(old) // which takes a lock under which End is called
	}
	return true
}

// put links m, unless it has ended, and unlinks the one that it returns.
func (t *Table) put(m *Memo) (old *Memo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m.ended.Load() { // End comes for the lock behind its mark
		return nil
	}
	if t.seed.Load() == nil {
		seed := maphash.MakeSeed()
		t.seed.Store(&seed)
	}
	m.hash = t.hash(&m.Key)
	if old = t.Get(&m.Key); old != nil {
		t.unlinkLocked(old)
	}
	t.growLocked()
	t.linkLocked(*t.lists.Load(), m)
	m.linked = true
	t.n++
	return old
}

func (t *Table) linkLocked(lists []atomic.Pointer[Memo], m *Memo) {
	list := &lists[m.hash&uint64(len(lists)-1)]
	m.next.Store(list.Load())
	list.Store(m)
}

// growLocked makes room for one more. Whoever looks something up meanwhile may
// come from one list into another, all of which end.
func (t *Table) growLocked() {
	var old []atomic.Pointer[Memo]
	size := minLists
	if lists := t.lists.Load(); lists != nil {
		if old = *lists; t.n < len(old) {
			return
		}
		size = 2 * len(old)
	}
	lists := make([]atomic.Pointer[Memo], size)
	for i := range old {
		for m := old[i].Load(); m != nil; {
			next := m.next.Load()
			t.linkLocked(lists, m)
			m = next
		}
	}
	t.lists.Store(&lists)
}

// remove unlinks m, if it is linked.
func (t *Table) remove(m *Memo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m.linked {
		t.unlinkLocked(m)
	}
}

func (t *Table) unlinkLocked(m *Memo) {
	lists := *t.lists.Load()
	from := &lists[m.hash&uint64(len(lists)-1)]
	for at := from.Load(); at != m; at = from.Load() {
		from = &at.next
	}
	from.Store(m.next.Load())
	m.linked = false
	t.n--
}

// Len returns how many memos there are.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}
