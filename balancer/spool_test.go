package balancer

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"
)

// pieces is a body that comes in these.
type pieces [][]byte

func (p *pieces) Read(b []byte) (int, error) {
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n := copy(b, (*p)[0])
	if (*p)[0] = (*p)[0][n:]; len((*p)[0]) == 0 {
		*p = (*p)[1:]
	}
	return n, nil
}

// inPieces cuts body.
func inPieces(body []byte, sizes ...int) *pieces {
	var p pieces
	for i := 0; len(body) > 0; i++ {
		n := min(len(body), sizes[i%len(sizes)])
		p, body = append(p, body[:n:n]), body[n:]
	}
	return &p
}

// TestMemoryOfBodies: what is kept of a body is the body, however it comes and whoever has
// read of it before, and its memory is another's once it is given up, and not before.
func TestMemoryOfBodies(t *testing.T) {
	client := netip.MustParseAddr("127.0.0.1")
	var d depot
	rnd := rand.New(rand.NewPCG(1, 2))
	var kept []*spool
	bodies := make(map[*spool][]byte)
	for range 2000 {
		body := bytes.Repeat([]byte{byte('a' + rnd.IntN(26))}, rnd.IntN([]int{100, 5000, 20_000, 100_000}[rnd.IntN(4)]))
		n := int64(-1)
		if rnd.IntN(2) == 0 {
			n = int64(len(body))
		}
		s := newSpool(inPieces(body, 1+rnd.IntN(3000), 1+rnd.IntN(20_000)), 1<<20, &d, client)
		if rnd.IntN(3) == 0 { // an attempt has begun to send it
			r := s.body()
			for range 1 + rnd.IntN(3) {
				_, _ = r.Read(make([]byte, 1+rnd.IntN(16<<10))) // an end shows again
			}
			_ = r.Close()
		}
		if err := s.gather(n, new(atomic.Bool)); err != nil {
			t.Fatal(err)
		}
		kept, bodies[s] = append(kept, s), body
		if len(kept) < 20 {
			continue
		}
		i := rnd.IntN(len(kept))
		s = kept[i]
		kept[i] = kept[len(kept)-1]
		kept = kept[:len(kept)-1]
		if got, err := io.ReadAll(s.body()); err != nil || !bytes.Equal(got, bodies[s]) {
			t.Fatalf("%d bytes of %c are %d, %v", len(bodies[s]), bodies[s][:1], len(got), err)
		}
		s.end()
	}
	for _, s := range kept {
		s.end()
	}
	if left := d.memory.Held(); left != 0 {
		t.Errorf("%d bytes are held in the end", left)
	}
}

// TestBodiesThatNearlyFillTheirMemory need no disk, up to the last byte that may be kept.
func TestBodiesThatNearlyFillTheirMemory(t *testing.T) {
	for _, size := range []int{700 << 10, 900 << 10, spoolEach - 1, spoolEach} {
		for _, n := range []int64{int64(size), -1} {
			var d depot // which has no disk
			s := newSpool(inPieces(make([]byte, size), 10_000), 1<<20, &d, netip.MustParseAddr("127.0.0.1"))
			err := s.gather(n, new(atomic.Bool))
			if full := size == spoolEach && n < 0; !full && err != nil || s.size() != int64(size) { // of which nobody knows that it has ended
				t.Errorf("%d bytes, of which %d are announced: %v after %d", size, n, err, s.size())
			}
			s.end()
		}
	}
}
