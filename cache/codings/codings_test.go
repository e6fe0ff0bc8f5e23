package codings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"compress/gzip" // the standard decoder: others read what ours write

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/foretier/foretier/cache"
)

func decode(coding string, b []byte) ([]byte, error) {
	var r io.Reader
	var err error
	switch in := bytes.NewReader(b); coding {
	case "gzip":
		r, err = gzip.NewReader(in)
	case "br":
		r = brotli.NewReader(in)
	case "zstd":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(in, zstd.WithDecoderMaxWindow(8<<20)); err == nil { // RFC 9659
			defer d.Close()
			r = d
		}
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// page is n bytes of text.
func page(n int) []byte {
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "<li class=\"product\"><a href=\"/p/%d\">%x</a></li>\n", rnd.IntN(10000), rnd.Uint32())
	}
	return []byte(b.String()[:n])
}

// TestEachIsReadBack, by decoders, whatever the sizes of reads, many at once and one
// after another.
func TestEachIsReadBack(t *testing.T) {
	for _, c := range All() {
		t.Run(c.Coding(), func(t *testing.T) {
			var wg sync.WaitGroup
			for g := range 4 {
				wg.Go(func() {
					for _, n := range []int{0, 1, 1000, 40_000 + g, 1 << 20} {
						body := page(n)
						var out bytes.Buffer
						if err := c.Encode(&out, iotest.HalfReader(bytes.NewReader(body))); err != nil {
							t.Error(err)
						}
						got, err := decode(c.Coding(), out.Bytes())
						if err != nil || !bytes.Equal(got, body) {
							t.Errorf("%d bytes: %d came back, %v", n, len(got), err)
						}
						if n >= 1000 && out.Len() > n/2 {
							t.Errorf("%d bytes have become %d", n, out.Len())
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

var errTest = errors.New("test")

type failing struct{ after int }

func (w *failing) Write(p []byte) (int, error) {
	if w.after -= len(p); w.after < 0 {
		return 0, errTest
	}
	return len(p), nil
}

// TestErrorsEndIt: of the reader and of the writer, and the next is none the worse.
func TestErrorsEndIt(t *testing.T) {
	for _, c := range All() {
		if err := c.Encode(io.Discard, io.MultiReader(bytes.NewReader(page(100_000)), iotest.ErrReader(errTest))); !errors.Is(err, errTest) {
			t.Errorf("%s: of the reader: %v", c.Coding(), err)
		}
		for _, after := range []int{0, 100, 20_000} {
			if err := c.Encode(&failing{after}, bytes.NewReader(page(1<<20))); !errors.Is(err, errTest) {
				t.Errorf("%s: of the writer after %d: %v", c.Coding(), after, err)
			}
		}
		var out bytes.Buffer
		if err := c.Encode(&out, bytes.NewReader(page(5000))); err != nil {
			t.Fatal(err)
		}
		if got, err := decode(c.Coding(), out.Bytes()); err != nil || !bytes.Equal(got, page(5000)) {
			t.Errorf("%s: the next: %v", c.Coding(), err)
		}
	}
}

func TestACacheTakesThem(t *testing.T) {
	c, err := cache.New(cache.Options{Compress: All()})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// BenchmarkEncode is of the pages of this repository's documentation together.
func BenchmarkEncode(b *testing.B) {
	var body []byte
	for _, name := range []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"} {
		text, err := os.ReadFile("../../" + name)
		if err != nil {
			b.Fatal(err)
		}
		body = append(body, text...)
	}
	for _, c := range All() {
		b.Run(c.Coding(), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				var out bytes.Buffer
				_ = c.Encode(&out, bytes.NewReader(body))
				n = out.Len()
			}
			b.ReportMetric(100*float64(n)/float64(len(body)), "%")
		})
	}
}
