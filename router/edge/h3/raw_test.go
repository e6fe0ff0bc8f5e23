package h3_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// Frames of HTTP/3 (RFC 9114, section 7.2).
const (
	frameData    = 0x0
	frameHeaders = 0x1
	frameGoAway  = 0x7
)

// A rawConn is a client that says what it likes.
type rawConn struct {
	*quic.Conn
	tb testing.TB
}

// dial opens a connection without a word of HTTP/3.
func (f *front) dial(tb testing.TB, config *quic.Config) *rawConn {
	tb.Helper()
	c, err := f.tryDial(tb, config)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func (f *front) tryDial(tb testing.TB, config *quic.Config) (*rawConn, error) {
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	c, err := quic.DialAddr(ctx, f.quic.Addr().String(), clientTLS(), config)
	if err != nil {
		return nil, err
	}
	tb.Cleanup(func() { _ = c.CloseWithError(0, "") })
	return &rawConn{c, tb}, nil
}

func clientTLS() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: "shop.example", NextProtos: []string{"h3"}}
}

// newSessions returns room for sessions that are resumed.
func newSessions() tls.ClientSessionCache { return tls.NewLRUClientSessionCache(10) }

// dialUDP sends packets to f.
func dialUDP(tb testing.TB, f *front) net.Conn {
	tb.Helper()
	c, err := net.Dial("udp", f.quic.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// A pair is a field as it is sent.
type pair struct{ name, value string }

// getting is what a request for path begins with.
func getting(path string, more ...pair) []pair {
	return append([]pair{{":method", "GET"}, {":scheme", "https"}, {":authority", "shop.example"}, {":path", path}}, more...)
}

// appendFrame appends a frame.
func appendFrame(b []byte, kind uint64, payload []byte) []byte {
	b = quicvarint.Append(b, kind)
	b = quicvarint.Append(b, uint64(len(payload)))
	return append(b, payload...)
}

// header returns a HEADERS frame.
func header(fields []pair) []byte {
	var block bytes.Buffer
	enc := qpack.NewEncoder(&block)
	for _, f := range fields {
		_ = enc.WriteField(qpack.HeaderField{Name: f.name, Value: f.value}) // into memory
	}
	return appendFrame(nil, frameHeaders, block.Bytes())
}

// open sends bytes on a stream of their own, and leaves it open.
func (c *rawConn) open(b []byte) *quic.Stream {
	c.tb.Helper()
	s, err := c.OpenStreamSync(c.tb.Context())
	if err != nil {
		c.tb.Fatal(err)
	}
	_ = s.SetReadDeadline(time.Now().Add(30 * time.Second)) // it cannot fail
	if _, err := s.Write(b); err != nil {
		c.tb.Fatal(err)
	}
	return s
}

// send sends all of a stream's bytes.
func (c *rawConn) send(b []byte) *quic.Stream {
	s := c.open(b)
	_ = s.Close() // it cannot fail
	return s
}

// A reply is what came on a stream.
type reply struct {
	status int // final; 0: none
	fields []pair
	body   []byte
}

// answer reads a stream to its end. An error is why it broke off.
func answer(s *quic.Stream) (r reply, err error) {
	in := quicvarint.NewReader(s)
	for {
		kind, err := quicvarint.Read(in)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return r, err
		}
		n, err := quicvarint.Read(in)
		if err != nil {
			return r, err
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(in, payload); err != nil {
			return r, err
		}
		switch kind {
		case frameData:
			r.body = append(r.body, payload...)
		case frameHeaders:
			next := qpack.NewDecoder().Decode(payload)
			for {
				f, err := next()
				if errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					return r, err
				}
				if f.Name == ":status" {
					r.status, _ = strconv.Atoi(f.Value)
				}
				r.fields = append(r.fields, pair{f.Name, f.Value})
			}
		default:
			return r, fmt.Errorf("frame %#x of %d bytes", kind, n)
		}
	}
}

// ask sends a request and reads the answer.
func (c *rawConn) ask(fields []pair, body ...string) (reply, error) {
	b := header(fields)
	for _, piece := range body {
		b = appendFrame(b, frameData, []byte(piece))
	}
	return answer(c.send(b))
}
