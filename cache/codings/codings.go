// Package codings has the content codings of the web for [cache.Options.Compress]:
//
//	pages, err := cache.New(cache.Options{Compress: codings.All()})
//
// They are set for what is made once and sent many times. Of this repository's
// documentation br leaves 38.8%, gzip 40.9% and zstd 41.8%; br takes three times as long
// as gzip, and that half as long again as zstd (BenchmarkEncode): a page of a shop
// takes longer to be made than to be compressed by any. Higher levels save a point or
// two, and cost several times as much.
package codings

import (
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/foretier/foretier/cache"
)

// All returns Brotli, Zstandard and gzip, the first for whoever accepts it: it is the
// smallest, so one form does for nearly all browsers. The others are for those who
// want them more, or nothing else.
func All() []cache.Coder { return []cache.Coder{Brotli(), Zstandard(), Gzip()} }

// Brotli returns br (RFC 7932), at quality 5 with a window of 1 MiB.
func Brotli() cache.Coder {
	return newCoder("br", func() encoder {
		return brotli.NewWriterOptions(nil, brotli.WriterOptions{Quality: 5, LGWin: 20})
	})
}

// Zstandard returns zstd (RFC 8878), at the default level with a window of 1 MiB, of
// which every client has to have eight (RFC 9659).
func Zstandard() cache.Coder {
	return newCoder("zstd", func() encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(1<<20), zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic(err) // options that are constant
		}
		return e
	})
}

// Gzip returns gzip (RFC 1952), at level 6.
func Gzip() cache.Coder {
	return newCoder("gzip", func() encoder {
		e, err := gzip.NewWriterLevel(nil, 6)
		if err != nil {
			panic(err) // likewise
		}
		return e
	})
}

// An encoder is what the libraries have.
type encoder interface {
	io.WriteCloser
	Reset(io.Writer)
}

// A coder keeps encoders, each of which has a few megabytes, for the next time.
type coder struct {
	name string
	idle sync.Pool
}

func newCoder(name string, make func() encoder) *coder {
	return &coder{name: name, idle: sync.Pool{New: func() any { return make() }}}
}

// Coding implements [cache.Coder].
func (c *coder) Coding() string { return c.name }

// Encode implements [cache.Coder].
func (c *coder) Encode(w io.Writer, r io.Reader) error {
	e := c.idle.Get().(encoder)
	e.Reset(w)
	_, err := io.Copy(onlyWriter{e}, r)
	if err == nil {
		err = e.Close()
	}
	if err == nil { // one that has failed may be in any state
		e.Reset(nil)
		c.idle.Put(e)
	}
	return err
}

// onlyWriter hides ReadFrom, for one way in.
type onlyWriter struct{ io.Writer }
