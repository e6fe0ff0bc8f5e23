package h1_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/http1"
)

// pieces are what streams of requests are made of, right ones and wrong ones.
var pieces = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD /h?q HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
	"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%2e%2E;x/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
	"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "PUT /p HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "POST /p HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
	"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "POST /t HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: A, B\r\n\r\n",
	"POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", "POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
	"GET /u HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "POST /u HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 5\r\n\r\nhello",
	"hello", "5\r\nhello\r\n", "3;a=b;c=\"d\"\r\nabc\r\n", "1 \r\nx\r\n", "0\r\n\r\n", "0;last\r\n\r\n", "0\r\nA: 1\r\nB: 2\r\n\r\n", "0\r\nContent-Length: 5\r\nHost: b\r\n\r\n", "00000005\r\nhello\r\n",
	"POST / HTTP/1.1\r\n", "GET / HTTP/1.1\r\n", "Host: a\r\n", "Content-Length: 5\r\n", "Content-Length: 5, 5\r\n", "Content-Length: +5\r\n", "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding : chunked\r\n",
	"Connection: close\r\n", "Connection: keep-alive, X-A\r\n", "Expect: 100-continue\r\n", "Expect: x\r\n", "Cookie: a=b; c=d\r\n", "X-A:\tb \r\n", " folded\r\n", "X_A: b\r\n", "Trailer: A\r\n", "Trailer: Content-Length\r\n", "Upgrade: h2c\r\n",
	"\r\n", "\n", "\r", "\x00", " ", "\t", ":", "\r\n\r\n", "\n\n", "0", "-1\r\n", "fffffffffffffffff\r\n", "7fffffffffffffff\r\n", "5\nhello\n", "5\r\nhelloX\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/9.9\r\n", "GET  / HTTP/1.1\r\n", "\x16\x03\x01\x00\xa5\x01\x00",
	"X-Long: " + strings.Repeat("l", 5000) + "\r\n", "POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n" + strings.Repeat("0123456789", 1000), "POST /l HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2710\r\n" + strings.Repeat("0123456789", 1000) + "\r\n",
	"POST /m HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + strings.Repeat("0123456789", 30000), strings.Repeat("1;"+strings.Repeat("e", 500)+"\r\nx\r\n", 40), strings.Repeat("1\r\nx\r\n", 200), strings.Repeat("A: b\r\n", 300),
}

// streamOf is the text that a script stands for: bytes from 0x80 are pieces, 0xfe
// makes the byte behind it one of the text, 0xff cuts off as many bytes as the one
// behind it says, and all others are text.
func streamOf(script string) string {
	var b []byte
	for i := 0; i < len(script) && len(b) < 1<<20; i++ {
		switch c := script[i]; {
		case c < 0x80:
			b = append(b, c)
		case c == 0xfe || c == 0xff:
			if i++; i == len(script) {
				break
			}
			if c == 0xfe {
				b = append(b, script[i])
			} else {
				b = b[:max(0, len(b)-int(script[i]))]
			}
		default:
			b = append(b, pieces[int(c-0x80)%len(pieces)]...)
		}
	}
	return string(b)
}

// seen is a request as its handler has seen it.
type seen struct {
	request http.Request // without its body and context
	body    string
	ended   bool // the body was read to its end
	failed  bool // … or to where it was wrong
	trailer http.Header
	taken   bool   // the connection was taken over
	rest    string // what was read of it then

	// What its client has to get.
	status int
	answer string // the body
	cut    bool   // it is broken off
	silent bool   // there is none
}

// note keeps what a handler sees before it does anything.
func (s *seen) note(r *http.Request) {
	s.request = *r.WithContext(context.Background())
	s.request.Body, s.request.RemoteAddr = nil, ""
	s.request.Header, s.request.Trailer = r.Header.Clone(), cloneTrailer(r.Trailer)
}

func cloneTrailer(h http.Header) http.Header {
	if len(h) == 0 {
		return nil
	}
	return h.Clone()
}

// read reads n bytes of the body, or all if n < 0.
func (s *seen) read(r *http.Request, n int) {
	src := io.Reader(r.Body)
	if n >= 0 {
		src = io.LimitReader(src, int64(n))
	}
	b, err := io.ReadAll(src)
	s.body += string(b)
	s.failed = err != nil
	if n < 0 && err == nil {
		s.ended, s.trailer = true, cloneTrailer(r.Trailer)
	}
}

// modelOf is what a handler that reads everything sees of a stream, by what net/http
// makes of it. Empty lines in front of a request ask for nothing.
func modelOf(text string) (out []seen) {
	src := strings.NewReader(text)
	in := bufio.NewReaderSize(src, 64<<10)
	for {
		for b, _ := in.Peek(2); string(b) == "\r\n"; b, _ = in.Peek(2) {
			in.Discard(2)
		}
		r, err := http.ReadRequest(in)
		if err != nil {
			return out
		}
		s := seen{}
		s.note(r)
		s.rest = text[len(text)-src.Len()-in.Buffered():]
		s.read(r, -1)
		for name := range s.trailer {
			if _, announced := s.request.Trailer[name]; !http1.MayTrail(name) {
				if delete(s.trailer, name); announced {
					s.trailer[name] = nil
				}
			}
		}
		s.trailer = cloneTrailer(s.trailer)
		out = append(out, s)
		if s.failed || r.Close {
			return out
		}
	}
}

// same holds that what a handler has seen is what the model has.
func (s *seen) same(t *testing.T, want *seen) {
	t.Helper()
	if !reflect.DeepEqual(s.request, want.request) {
		t.Errorf("got request\n%+v\nwant\n%+v", s.request, want.request)
	}
	switch {
	case s.taken:
		if !strings.HasPrefix(want.rest, s.rest) {
			t.Errorf("taken over: read %.200q, behind the head there is %.200q", s.rest, want.rest)
		}
	case !strings.HasPrefix(want.body, s.body):
		t.Errorf("body %.200q, want %.200q", s.body, want.body)
	case s.ended && (want.failed || len(s.body) != len(want.body)):
		t.Errorf("a body of %d bytes is whole, want %d, failed %t", len(s.body), len(want.body), want.failed)
	case s.ended && !reflect.DeepEqual(s.trailer, want.trailer):
		t.Errorf("trailer %v, want %v", s.trailer, want.trailer)
	}
}
