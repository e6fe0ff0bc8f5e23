package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// FuzzAppendHeader: fields are written as net/http writes them, and are one header
// to whoever reads them.
func FuzzAppendHeader(f *testing.F) {
	f.Add("X", "y", "z")
	f.Add("x y", "y\r\nZ: z", "\n")
	f.Add("", " a\tb ", "\x00\xff")
	f.Add("Content-Length", "5", "\r\r")
	f.Fuzz(func(t *testing.T, name, one, two string) {
		h := http.Header{name: {one, two}, "Via": {one}, "A": {"b"}}
		var want bytes.Buffer
		if err := h.Write(&want); err != nil {
			t.Fatal(err)
		}
		if got := AppendHeader(nil, h); string(got) != want.String() {
			t.Errorf("got %q, want %q", got, want.String())
		}
		want.Reset()
		if err := h.WriteSubset(&want, map[string]bool{"Via": true, name: true}); err != nil {
			t.Fatal(err)
		}
		if got := AppendHeader(nil, h, "Via", name); string(got) != want.String() {
			t.Errorf("got %q without some, want %q", got, want.String())
		}
	})
}

// TestAppend: status lines, chunks and their end, as they are read again.
func TestAppend(t *testing.T) {
	for want, got := range map[string][]byte{
		"HTTP/1.1 200 OK\r\n":              AppendStatus(nil, 1, 200),
		"HTTP/1.0 404 Not Found\r\n":       AppendStatus(nil, 0, 404),
		"HTTP/1.1 599 status code 599\r\n": AppendStatus(nil, 1, 599),
		"x":                                AppendChunk([]byte("x"), nil),
		"x1f\r\n" + strings.Repeat("y", 31) + "\r\n": AppendChunk([]byte("x"), []byte(strings.Repeat("y", 31))),
		"0\r\n\r\n":         AppendLastChunk(nil, nil),
		"0\r\nX: y\r\n\r\n": AppendLastChunk(nil, http.Header{"X": {"y"}}),
		"HTTP/1.1 103 Early Hints\r\nLink: a\r\nLink: b\r\n\r\n": AppendInformational(nil, 103, http.Header{"Link": {"a", "b"}, "Content-Length": {"5"}, "Transfer-Encoding": {"x"}}),
		"":             AppendField(nil, "X y", "z"),
		"X-Y: a b\r\n": AppendField(nil, "X-Y", "\na\rb\r\n"),
	} {
		if string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	b := AppendStatus(nil, 1, 200)
	b = AppendField(b, "Transfer-Encoding", "chunked")
	b = append(b, "\r\n"...)
	b = AppendChunk(b, []byte("hello"))
	b = AppendChunk(b, bytes.Repeat([]byte("x"), 5000))
	b = AppendLastChunk(b, http.Header{"X-Sum": {"1"}})
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(res.Body); len(body) != 5005 || err != nil || res.Trailer.Get("X-Sum") != "1" {
		t.Errorf("%d bytes, %v, %v", len(body), res.Trailer, err)
	}
	if n := testing.AllocsPerRun(100, func() {
		b = AppendHeader(AppendStatus(b[:0], 1, 200), http.Header{}, "Connection")
	}); n > 0 {
		t.Errorf("%.0f allocations", n)
	}
}
