package http1

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestBuffer: what is unread stays in order while the buffer grows and moves, and
// memory is held only while there is some.
func TestBuffer(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 20<<10)
	for _, keep := range []int{0, 1, 5000, 100_000} {
		var buf Buffer
		buf.Reset(iotest.HalfReader(strings.NewReader(text)))
		if buf.mem != nil {
			t.Error("memory before anything was read")
		}
		var got strings.Builder
		for {
			err := buf.Fill()
			if n := buf.Buffered() - keep; err != nil {
				got.Write(buf.Bytes())
				buf.Discard(buf.Buffered())
				if err != io.EOF {
					t.Fatal(err)
				}
				break
			} else if n > 0 {
				got.Write(buf.Bytes()[:n])
				buf.Discard(n)
			}
		}
		if got.String() != text {
			t.Errorf("%d kept: %d bytes came through of %d, or others", keep, got.Len(), len(text))
		}
		if buf.Free(); buf.mem != nil {
			t.Error("memory while nothing is unread")
		}
	}
}

// TestABufferKeepsWhatIsUnread when it is asked for its memory, and errors behind it.
func TestABufferKeepsWhatIsUnread(t *testing.T) {
	broken := errors.New("broken")
	var buf Buffer
	buf.Reset(iotest.DataErrReader(io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(broken))))
	if err := buf.Fill(); err != nil {
		t.Fatal(err)
	}
	buf.Discard(1)
	buf.Free()
	var b [8]byte
	if n, err := buf.Read(b[:]); string(b[:n]) != "b" || err != nil {
		t.Errorf("%q, %v", b[:n], err)
	}
	for range 2 {
		if n, err := buf.Read(b[:]); n != 0 || err != broken {
			t.Errorf("%q, %v", b[:n], err)
		}
		if err := buf.Fill(); err != broken {
			t.Error(err)
		}
	}
	buf.Reset(strings.NewReader("c"))
	if n, err := buf.Read(b[:]); string(b[:n]) != "c" || err != nil {
		t.Errorf("after Reset: %q, %v", b[:n], err)
	}
	buf.Reset(stuck{})
	if err := buf.Fill(); err != io.ErrNoProgress {
		t.Errorf("a source that gives nothing: %v", err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// TestMemories: each size has its pool, from which the same comes back.
func TestMemories(t *testing.T) {
	for n := minMemory; n <= 4*maxMemory; n *= 2 {
		b := Memory(n)
		if len(b) != n {
			t.Errorf("%d bytes, want %d", len(b), n)
		}
		GiveBack(b)
		if len(Memory(n)) != n {
			t.Errorf("not %d bytes from the pool", n)
		}
	}
}

// TestMemoryIsAsLargeAsAskedFor: what has been given back is nobody's but whoever asks for as
// much.
func TestMemoryIsAsLargeAsAskedFor(t *testing.T) {
	for range 3 {
		for _, n := range []int{0, 1, 1024, 4095, 4096, 4097, 4608, 6144, 27_648, 64 << 10, 64<<10 + 1, 1 << 20} {
			b := Memory(n)
			if len(b) != n {
				t.Fatalf("got %d bytes, want %d", len(b), n)
			}
			for i := range b {
				b[i] = byte(i)
			}
			GiveBack(b)
		}
	}
}
