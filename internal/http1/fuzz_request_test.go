package http1

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// A wholeRequest is all that can be known of a request and of what follows it.
type wholeRequest struct {
	request http.Request
	body    string
	bodyErr bool
	trailer http.Header // after the body
	rest    string      // of the connection
}

// ourRequest reads a request as a server does. nil: it is refused, or not whole.
func ourRequest(t *testing.T, src io.Reader) (*wholeRequest, error) {
	t.Helper()
	var buf Buffer
	buf.Reset(src)
	var h Head
	for {
		n, err := h.ParseRequest(buf.Bytes(), &Limits{})
		if err != nil {
			return nil, err
		}
		if n > 0 {
			break
		}
		if err := buf.Fill(); err != nil {
			return nil, err
		}
	}
	r, err := h.Request(context.Background(), nil)
	if err != nil {
		t.Fatalf("a head that was accepted is refused: %v", err)
	}
	for i := range h.Len() { // which must not change any more
		_, _, value := h.Field(i)
		_ = strings.Clone(value)
	}
	buf.Discard(h.Size)
	var body Body
	body.Reset(&buf, &h)
	body.Trailer = &r.Trailer
	w := &wholeRequest{request: *r}
	w.request.Trailer = cloneEmpty(r.Trailer)
	b, err := io.ReadAll(&body)
	if err == nil != body.Ended() {
		t.Errorf("ended: %t, and %v", body.Ended(), err)
	}
	w.body, w.bodyErr, w.trailer = string(b), err != nil, r.Trailer
	if !w.bodyErr {
		rest, err := io.ReadAll(&buf)
		if err != nil {
			t.Fatal(err)
		}
		w.rest = string(rest)
	}
	if buf.Free(); buf.mem != nil && !w.bodyErr {
		t.Error("a buffer that is empty holds memory")
	}
	return w, nil
}

// status is what an error is answered with; 0: it is none of the request's.
func status(err error) int {
	var refused *Refusal
	if errors.As(err, &refused) {
		return refused.Status
	}
	return 0
}

func cloneEmpty(h http.Header) http.Header {
	if h = h.Clone(); len(h) == 0 {
		return nil
	}
	return h
}

// theirRequest reads one as the standard library does.
func theirRequest(text string) (*wholeRequest, error) {
	in := bufio.NewReaderSize(strings.NewReader(text), 8<<10)
	r, err := http.ReadRequest(in)
	if err != nil {
		return nil, err
	}
	w := &wholeRequest{request: *r}
	w.request.Trailer = cloneEmpty(r.Trailer)
	b, err := io.ReadAll(r.Body)
	w.body, w.bodyErr, w.trailer = string(b), err != nil, r.Trailer
	if !w.bodyErr {
		rest, _ := io.ReadAll(in)
		w.rest = string(rest)
	}
	return w, nil
}

// sameRequest holds that ours is theirs, but for two things that are meant: an
// empty line in front is skipped, which theirs does behind a POST only, and a
// trailer that says how its message is read is left out.
func sameRequest(t *testing.T, text string) {
	t.Helper()
	ours, err := ourRequest(t, strings.NewReader(text))
	for name, src := range map[string]io.Reader{
		"byte by byte":  iotest.OneByteReader(strings.NewReader(text)),
		"half by half":  iotest.HalfReader(strings.NewReader(text)),
		"with its end":  iotest.DataErrReader(strings.NewReader(text)),
		"in two pieces": io.MultiReader(strings.NewReader(text[:len(text)/2]), strings.NewReader(text[len(text)/2:])),
	} {
		again, err2 := ourRequest(t, src)
		if status(err) != status(err2) || (ours == nil) != (again == nil) {
			t.Fatalf("%q %s: %v, whole: %v", text, name, err2, err)
		}
		if ours != nil {
			compare(t, text+" "+name, again, ours)
		}
	}
	if err != nil {
		return
	}
	theirs, err := theirRequest(strings.TrimPrefix(text, "\r\n"))
	if err != nil {
		t.Fatalf("%q: accepted, and refused by net/http: %v", text, err)
	}
	for name := range theirs.trailer {
		if _, announced := theirs.request.Trailer[name]; !MayTrail(name) && !announced {
			delete(theirs.trailer, name)
		} else if !MayTrail(name) {
			theirs.trailer[name] = nil
		}
	}
	if len(theirs.trailer) == 0 {
		theirs.trailer = ours.trailer
	}
	if ours.bodyErr { // theirs may have gone on
		if !strings.HasPrefix(theirs.body, ours.body) {
			t.Errorf("%q: body %q, and of net/http %q", text, ours.body, theirs.body)
		}
		return
	}
	compare(t, text, ours, theirs)
}

func compare(t *testing.T, text string, got, want *wholeRequest) {
	t.Helper()
	g, w := got.request, want.request
	g.Body, w.Body = nil, nil
	if !reflect.DeepEqual(*g.WithContext(context.Background()), *w.WithContext(context.Background())) {
		t.Errorf("%q:\n got %+v %+v\nwant %+v %+v", text, g, g.URL, w, w.URL)
	}
	if got.body != want.body || got.bodyErr != want.bodyErr || got.rest != want.rest || len(got.trailer)+len(want.trailer) > 0 && !reflect.DeepEqual(got.trailer, want.trailer) {
		t.Errorf("%q:\n got %q %t %q %v\nwant %q %t %q %v", text, got.body, got.bodyErr, got.rest, got.trailer, want.body, want.bodyErr, want.rest, want.trailer)
	}
}

const browserHead = "GET /damen/kleider/sommer?farbe=rot&groesse=38 HTTP/1.1\r\nHost: www.shop.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: de,en-US;q=0.7,en;q=0.3\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Referer: https://www.shop.example/damen/kleider\r\nConnection: keep-alive\r\nCookie: _ga=GA1.2.1234567890.1700000000; _gid=GA1.2.987654321.1700000000\r\nUpgrade-Insecure-Requests: 1\r\n" +
	"sec-ch-ua-mobile: ?0\r\nPriority: u=0, i\r\n\r\n"

var requestSeeds = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\n", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", browserHead, browserHead + browserHead,
	"GET //a/b?x=%zz? HTTP/1.1\r\nHost: a:80\r\n\r\n", "GET /a%2Fb{c}? HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%C3%A9\xe9 HTTP/1.0\r\n\r\n",
	"GET http://b:80/c?d HTTP/1.1\r\nHost: a\r\n\r\n", "GET HTTPS://[::1]?q HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1\r\nhOST: a\r\nx-oDD: 1\r\nX-Odd: 2\r\nPragma: no-cache\r\nconnection: Close , upgrade\r\nUpgrade: websocket\r\n\r\n",
	"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET / HTTP/1.0\r\nHost:\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET /", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\nhello",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Cookie\r\n\r\n5;a=b\r\nhello\r\n00A \r\n0123456789\r\n0\r\nX-Sum: 1\r\nCookie: b\r\nX-Else: 2\r\n\r\nGET /",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\n",
}

// FuzzRequest: whatever is sent, what is accepted is to every handler what net/http
// would have made of it, with the same bytes of body and behind it, in whatever
// pieces it comes.
func FuzzRequest(f *testing.F) {
	for _, s := range requestSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) < 64<<10 {
			sameRequest(t, text)
		}
	})
}
