package http1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// bodyOf returns the body of a request with these framing fields, behind which text
// comes from the connection.
func bodyOf(t *testing.T, framing string, src io.Reader) (*Buffer, *Body) {
	t.Helper()
	head := []byte("POST / HTTP/1.1\r\nHost: a\r\n" + framing + "\r\n\r\n")
	var h Head
	if n, err := h.ParseRequest(head, &Limits{}); n == 0 || err != nil {
		t.Fatalf("%s: %v", framing, err)
	}
	buf, body := new(Buffer), new(Body)
	buf.Reset(src)
	body.Reset(buf, &h)
	return buf, body
}

const chunks = "Transfer-Encoding: chunked"

// TestBodies: what a body is, what of it is refused, and what stays unread behind it.
func TestBodies(t *testing.T) {
	const end = "0\r\n\r\n"
	cases := []struct {
		name, framing, text string
		want, rest, err     string // err: part of it, "" for the end
	}{
		{"none", "X: y", "GET", "", "GET", ""},
		{"a length", "Content-Length: 5", "helloGET", "hello", "GET", ""},
		{"a length that does not come", "Content-Length: 6", "hello", "hello", "", "unexpected EOF"},
		{"chunks", chunks, "5\r\nhello\r\n" + end + "GET", "hello", "GET", ""},
		{"no chunk", chunks, end + "GET", "", "GET", ""},
		{"several", chunks, "1\r\nh\r\n4\r\nello\r\n" + end, "hello", "", ""},
		{"digits in any case", chunks, "a\r\n0123456789\r\nA\r\n0123456789\r\n" + end, "01234567890123456789", "", ""},
		{"noughts", chunks, "0005\r\nhello\r\n000" + end + "GET", "hello", "GET", ""},
		{"too many noughts", chunks, "00000000000000005\r\nhello\r\n" + end, "", "", "too many bytes"},
		{"blanks behind a size", chunks, "5 \t\r\nhello\r\n" + end + "GET", "hello", "GET", ""},
		{"blanks in front of one", chunks, " 5\r\nhello\r\n" + end, "", "", "malformed line"},
		{"extensions", chunks, "5;a=\"b;\" ; c\r\nhello\r\n0;x\r\n\r\nGET", "hello", "GET", ""},
		{"an empty extension", chunks, "5;\r\nhello\r\n" + end, "hello", "", ""},
		{"a control in one", chunks, "5;a=\x00\r\nhello\r\n" + end, "", "", "malformed line"},
		{"CR in one", chunks, "5;a\rb\r\nhello\r\n" + end, "", "", "malformed line"},
		{"LF in one", chunks, "5;a\nb\r\nhello\r\n" + end, "", "", "malformed line"},
		{"a quoted line in one", chunks, "5;a=\"b\r\nhello\r\n0\r\n\r\n\"\r\n", "", "", "malformed line"},
		{"a quoted quote in one", chunks, "5;a=\"b\\\"\"\r\nhello\r\n" + end, "hello", "", ""},
		{"a quote that is quoted in one", chunks, "5;a=\"b\\\"\r\nhello\r\n" + end, "", "", "malformed line"},
		{"LF behind a size", chunks, "5\nhello\r\n" + end, "", "", "malformed line"},
		{"CRs behind a size", chunks, "5\r\r\nhello\r\n" + end, "", "", "malformed line"},
		{"a size of nothing", chunks, "\r\nhello", "", "", "malformed line"},
		{"a signed size", chunks, "+5\r\nhello\r\n" + end, "", "", "malformed line"},
		{"a negative size", chunks, "-5\r\nhello\r\n" + end, "", "", "malformed line"},
		{"a size with prefix", chunks, "0x5\r\nhello\r\n" + end, "", "", "malformed line"},
		{"an underscored size", chunks, "1_0\r\nhello\r\n" + end, "", "", "malformed line"},
		{"two sizes", chunks, "5 5\r\nhello\r\n" + end, "", "", "malformed line"},
		{"the largest size", chunks, "7fffffffffffffff\r\nhello", "hello", "", "unexpected EOF"},
		{"too large a size", chunks, "8000000000000000\r\nhello", "", "", "too many bytes"},
		{"a size that wraps", chunks, "10000000000000005\r\nhello\r\n" + end, "", "", "too many bytes"},
		{"a chunk too short", chunks, "6\r\nhello\r\n" + end, "hello\r", "", "malformed end"},
		{"a chunk too long", chunks, "4\r\nhello\r\n" + end, "hell", "", "malformed end"},
		{"LF behind a chunk", chunks, "5\r\nhello\n" + end, "hello", "", "malformed end"},
		{"CR behind a chunk", chunks, "5\r\nhello\r0\r\n\r\n", "hello", "", "malformed end"},
		{"no end", chunks, "5\r\nhello\r\n", "hello", "", "unexpected EOF"},
		{"half an end", chunks, "5\r\nhello\r\n0\r\n", "hello", "", "unexpected EOF"},
		{"half a line", chunks, "5", "", "", "unexpected EOF"},
		{"LF at the end", chunks, "0\r\n\nGET", "", "", "without CR"},
		{"LF behind the last chunk", chunks, "0\n\r\nGET", "", "", "malformed line"},
		{"a line without end", chunks, "5;" + strings.Repeat("x", maxChunkLine), "", "", "more than 1024 bytes"},
		{"the longest line", chunks, "5;" + strings.Repeat("x", maxChunkLine-4) + "\r\nhello\r\n" + end, "hello", "", ""},
		{"one longer", chunks, "5;" + strings.Repeat("x", maxChunkLine-3) + "\r\nhello\r\n" + end, "", "", "more than 1024 bytes"},
		{"a byte each", chunks, strings.Repeat("1\r\nx\r\n", 20_000) + end, strings.Repeat("x", 20_000), "", ""},
		{"more extensions than data", chunks, strings.Repeat("1;"+strings.Repeat("y", 50)+"\r\nx\r\n", 1000) + end, strings.Repeat("x", 16<<10/38), "", "too little data"},
		{"trailers", chunks, "0\r\nX-Sum: 1\r\nx-sum:2\r\n\r\nGET", "", "GET", ""},
		{"a trailer folded", chunks, "0\r\nX-Sum: 1\r\n 2\r\n\r\n", "", "", "folded"},
		{"a trailer that ends in LF", chunks, "0\r\nX-Sum: 1\n\r\n", "", "", "without CR"},
		{"a trailer that is none", chunks, "0\r\nGET / HTTP/1.1\r\n\r\n", "", "", "blank in or behind"},
		{"as many trailers as may be", chunks, "0\r\n" + strings.Repeat("X: y\r\n", maxTrailerLines) + "\r\n", "", "", ""},
		{"one more", chunks, "0\r\n" + strings.Repeat("X: y\r\n", maxTrailerLines+1) + "\r\n", "", "", "more than 64 fields"},
		{"too large a trailer", chunks, "0\r\nX: " + strings.Repeat("y", maxTrailer), "", "", "more than 4096 bytes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for how, src := range map[string]io.Reader{
				"whole":        strings.NewReader(c.text),
				"byte by byte": iotest.OneByteReader(strings.NewReader(c.text)),
				"with its end": iotest.DataErrReader(strings.NewReader(c.text)),
			} {
				for _, size := range []int{1, 3, 64 << 10} {
					buf, body := bodyOf(t, c.framing, src)
					var got bytes.Buffer
					_, err := io.CopyBuffer(struct{ io.Writer }{&got}, struct{ io.Reader }{body}, make([]byte, size))
					if got.String() != c.want && !(c.err == "too little data" && strings.HasPrefix(got.String(), c.want)) {
						t.Errorf("%s, by %d: %.100q, want %.100q", how, size, got.String(), c.want)
					}
					if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
						t.Errorf("%s, by %d: %v, want %s", how, size, err, c.err)
					}
					var refused *Refusal
					if err != nil && errors.As(err, &refused) == errors.Is(err, io.ErrUnexpectedEOF) {
						t.Errorf("%s, by %d: %v is neither malformed nor cut off, or both", how, size, err)
					}
					if _, again := body.Read(make([]byte, 1)); err != nil && again != err || err == nil && again != io.EOF {
						t.Errorf("%s, by %d: then %v", how, size, again)
					}
					if body.Ended() != (err == nil) {
						t.Errorf("%s, by %d: ended: %t", how, size, body.Ended())
					}
					if c.err == "" {
						rest, _ := io.ReadAll(buf)
						if string(rest) != c.rest {
							t.Errorf("%s, by %d: %q follows, want %q", how, size, rest, c.rest)
						}
					}
					seeker, _ := src.(io.Seeker)
					if seeker == nil {
						break // the others cannot be read again
					}
					_, _ = seeker.Seek(0, io.SeekStart)
				}
			}
		})
	}
}

// TestTheEndComesWithTheLastBytes, so that a connection can be used again as soon as
// those are read.
func TestTheEndComesWithTheLastBytes(t *testing.T) {
	for framing, text := range map[string]string{"Content-Length: 5": "hello", chunks: "5\r\nhello\r\n0\r\n\r\n"} {
		_, body := bodyOf(t, framing, strings.NewReader(text))
		if n, err := body.Read(make([]byte, 5)); n != 5 || framing != chunks && err != io.EOF {
			t.Errorf("%s: %d, %v", framing, n, err)
		}
		buf, body := bodyOf(t, framing, strings.NewReader(text))
		if err := buf.Fill(); err != nil {
			t.Fatal(err)
		}
		if n, err := body.Read(make([]byte, 5)); n != 5 || err != io.EOF {
			t.Errorf("%s, of which all is here: %d, %v", framing, n, err)
		}
	}
}

// TestAReadDoesNotWaitForMore than there is.
func TestAReadDoesNotWaitForMore(t *testing.T) {
	for _, first := range []string{"3\r\nabc", "5\r\nabc", "1\r\na\r\n5\r\nbc", "3\r\nabc\r", "3\r\nabc\r\n", "3\r\nabc\r\n1", "1\r\na\r\n2\r\nbc\r\n1;", "3\r\nabc\r\n0\r\n", "3\r\nabc\r\n0\r\nX: y\r\n"} {
		stop := errors.New("it was waited for")
		_, body := bodyOf(t, chunks, io.MultiReader(strings.NewReader(first), iotest.ErrReader(stop)))
		var b [16]byte
		if n, err := body.Read(b[:]); string(b[:n]) != "abc" || err != nil {
			t.Errorf("%q: %q, %v", first, b[:n], err)
		}
		if n, err := body.Read(b[:]); n != 0 || err != stop {
			t.Errorf("%q: then %d, %v", first, n, err)
		}
	}
	if _, body := bodyOf(t, chunks, iotest.ErrReader(io.ErrClosedPipe)); body.Left() != -1 {
		t.Error("chunks have a length")
	}
	_, body := bodyOf(t, "Content-Length: 7", strings.NewReader("abcdefg"))
	if _, err := io.ReadFull(body, make([]byte, 3)); err != nil || body.Left() != 4 {
		t.Errorf("%d are left, %v", body.Left(), err)
	}
	if n, err := body.Read(nil); n != 0 || err != nil {
		t.Errorf("nothing is read: %d, %v", n, err)
	}
}

// TestTrailers: they are added to what was announced, but for those that would say
// how the request is read.
func TestTrailers(t *testing.T) {
	const text = "0\r\nx-sum: 1\r\nX-Sum: 2\r\nTransfer-Encoding: gzip\r\nContent-Length: x\r\nHost: a\r\nHost: b\r\nCookie: c\r\nAuthorization: d\r\nX-Else:\r\n\r\n"
	_, body := bodyOf(t, chunks, strings.NewReader(text))
	trailer := http.Header{"X-Sum": nil, "X-None": nil}
	body.Trailer = &trailer
	if _, err := io.Copy(io.Discard, body); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(trailer); got != "map[X-Else:[] X-None:[] X-Sum:[1 2]]" {
		t.Errorf("got %s", got)
	}
	if _, there := trailer["X-Else"]; !there {
		t.Error("one without a value is missing")
	}
	// A server's say what they say.
	var h Head
	if _, err := h.ParseResponse([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), false, &Limits{}); err != nil {
		t.Fatal(err)
	}
	var buf Buffer
	buf.Reset(strings.NewReader("0\r\nAuthorization: d\r\nX: " + strings.Repeat("y", maxTrailer) + "\r\n\r\n"))
	body.Reset(&buf, &h)
	var got http.Header
	body.Trailer = &got
	if _, err := io.Copy(io.Discard, body); err != nil || got.Get("Authorization") != "d" || len(got.Get("X")) != maxTrailer {
		t.Errorf("%d, %v", len(got), err)
	}
}

// TestLargeReadsGoPastTheBuffer: nothing is copied twice, and nothing read beyond
// the message.
func TestLargeReadsGoPastTheBuffer(t *testing.T) {
	big := strings.Repeat("x", 100_000)
	src := strings.NewReader(big + "GET")
	buf, body := bodyOf(t, fmt.Sprintf("Content-Length: %d", len(big)), src)
	if _, err := io.ReadFull(body, make([]byte, len(big))); err != nil || !body.Ended() {
		t.Fatal(err)
	}
	if buf.mem != nil || src.Len() != 3 {
		t.Errorf("%d bytes of memory, %d bytes unread", len(buf.mem), src.Len())
	}
}
