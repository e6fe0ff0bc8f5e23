package http1

import (
	"bufio"
	"io"
	"net/http"
	"net/textproto"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/foretier/foretier/internal/fields"
)

// A wholeResponse is all that can be known of a response and of what follows it.
type wholeResponse struct {
	response http.Response
	body     string
	bodyErr  bool
	trailer  http.Header // after the body
	rest     string      // of the connection
}

func ourWholeResponse(t *testing.T, src io.Reader, method string) *wholeResponse {
	t.Helper()
	var buf Buffer
	buf.Reset(src)
	var h Head
	for {
		n, err := h.ParseResponse(buf.Bytes(), method == http.MethodHead, &Limits{})
		if err == nil && n == 0 {
			err = buf.Fill()
		}
		if err != nil {
			return nil
		}
		if n > 0 {
			break
		}
	}
	res := h.Response(&http.Request{Method: method}, nil)
	sameEndToEnd(t, &h, res.Header)
	buf.Discard(h.Size)
	var body Body
	body.Reset(&buf, &h)
	body.Trailer = &res.Trailer
	w := &wholeResponse{response: *res}
	w.response.Trailer = cloneEmpty(res.Trailer)
	b, err := io.ReadAll(&body)
	w.body, w.bodyErr, w.trailer = string(b), err != nil, res.Trailer
	if !w.bodyErr {
		rest, _ := io.ReadAll(&buf)
		w.rest = string(rest)
	}
	return w
}

// sameEndToEnd holds that AddEndToEnd adds what is left of header without what is
// hop-by-hop.
func sameEndToEnd(t *testing.T, h *Head, header http.Header) {
	t.Helper()
	for name := range header {
		if name != "Connection" && h.Get(strings.ToLower(name)) != header.Get(name) && h.Get("Pragma") != "no-cache" {
			t.Errorf("%q: %s is %q", h.b, name, h.Get(name))
		}
	}
	want := header.Clone()
	fields.RemoveHopByHop(want)
	got := make(http.Header)
	h.AddEndToEnd(got, nil)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q: end to end it is\n     %v\nwant %v", h.b, got, want)
	}
	for name, values := range want { // beside what is there
		want[name] = append([]string{"before"}, values...)
		got[name] = []string{"before"}
	}
	if h.AddEndToEnd(got, nil); !reflect.DeepEqual(got, want) {
		t.Errorf("%q: end to end it adds\n     %v\nwant %v", h.b, got, want)
	}
}

// theirWholeResponse is what [http.ReadResponse] makes of it, but for what the
// client refuses beside, and fields that net/http leaves out when it writes them.
func theirWholeResponse(text, method string) *wholeResponse {
	in := bufio.NewReaderSize(strings.NewReader(text), 16<<10)
	res, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil || res.ProtoMajor != 1 || !isDigit(res.Status[0]) {
		return nil
	}
	w := &wholeResponse{response: *res}
	for name := range res.Header {
		if strings.Contains(name, " ") {
			delete(res.Header, name)
		}
	}
	if res.Header["Connection"] == nil {
		for _, name := range listedIn(text) {
			delete(res.Header, name)
		}
	}
	w.response.Trailer = cloneEmpty(res.Trailer)
	b, err := io.ReadAll(res.Body)
	w.body, w.bodyErr, w.trailer = string(b), err != nil, res.Trailer
	if !w.bodyErr {
		rest, _ := io.ReadAll(in)
		w.rest = string(rest)
	}
	return w
}

// listedIn returns what Connection lists in a head, of which net/http leaves no trace if
// close is among it.
func listedIn(text string) (names []string) {
	r := textproto.NewReader(bufio.NewReader(strings.NewReader(text)))
	if _, err := r.ReadLine(); err != nil {
		return nil
	}
	header, _ := r.ReadMIMEHeader() // as far as it can be read
	for name := range fields.Members(header["Connection"]) {
		names = append(names, http.CanonicalHeaderKey(name))
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "Close" || name == "Keep-Alive" })
}

// sameResponse holds that ours is theirs, in whatever pieces it comes, but for
// trailers, which are read strictly.
func sameResponse(t *testing.T, text, method string) {
	t.Helper()
	theirs := theirWholeResponse(text, method)
	for name, src := range map[string]io.Reader{
		"whole":        strings.NewReader(text),
		"byte by byte": iotest.OneByteReader(strings.NewReader(text)),
		"half by half": iotest.HalfReader(strings.NewReader(text)),
	} {
		ours := ourWholeResponse(t, src, method)
		if (ours == nil) != (theirs == nil) {
			t.Errorf("%q %s: refused %t, by net/http %t", text, name, ours == nil, theirs == nil)
		}
		if ours == nil || theirs == nil {
			continue
		}
		g, w := ours.response, theirs.response
		g.Body, w.Body, g.Request, w.Request = nil, nil, nil, nil
		if !reflect.DeepEqual(g, w) {
			t.Errorf("%q %s:\n got %+v\nwant %+v", text, name, g, w)
		}
		if ours.bodyErr {
			if !strings.HasPrefix(theirs.body, ours.body) {
				t.Errorf("%q %s: body %q, and of net/http %q", text, name, ours.body, theirs.body)
			}
			continue
		}
		if theirs.bodyErr || ours.body != theirs.body || ours.rest != theirs.rest || len(ours.trailer)+len(theirs.trailer) > 0 && !reflect.DeepEqual(ours.trailer, theirs.trailer) {
			t.Errorf("%q %s:\n got %q %q %v\nwant %q %t %q %v", text, name, ours.body, ours.rest, ours.trailer, theirs.body, theirs.bodyErr, theirs.rest, theirs.trailer)
		}
	}
}

var responseSeeds = []string{
	ok, ok + ok, "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 \r\n\r\nok", "HTTP/1.1  200 OK\n\nok", "HTTP/1.5 299 Any Thing\r\n\r\n", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: gzip\r\n\r\nok",
	"HTTP/1.1 200 OK\nX: a\n b\n\t\n c\nX :d\n e\nY:\n\n z\nz:\n \n f\n\nok", "HTTP/1.1 200 OK\r\n X: y\r\n\r\n", "HTTP/1.1 200 OK\r\nX y: z\r\n z\r\nContent-Length:\r\n\t2\r\n\r\nokok", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 +20 OK\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Host\r\nContent-Length: 9\r\n\r\n2;a=b \r\nok\r\n0;\r\nX-Sum: 1\r\nHost: a\r\n\r\nHTTP",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 ;a=b\r\nok\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nok\r\n0\r\n\r\nHTTP", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close, x\r\n\r\n2\r\nok",
	"HTTP/1.1 204 No Content\r\nContent-Length: 40\r\n\r\n" + ok, "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n" + ok, "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" + ok, "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + ok,
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\nPragma: no-cache\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 02\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\nTrailer: Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, x-a\r\nConnection: pragma ,x-b\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nPragma: no-cache\r\nX-A: 1\r\nx-B: 2\r\nX-C: 3\r\nx-c: 4\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close, x-a\r\nX-A: 1\r\nPragma: a\r\nPragma: no-cache\r\n\r\nok", "HTTP/1.0 200 OK\r\nConnection: close, cache-control, content-length\r\nPragma: no-cache\r\nContent-Length: 2\r\n\r\nok",
}

// FuzzParseResponse: whatever a server sends is read as net/http reads it, or
// refused as there.
func FuzzParseResponse(f *testing.F) {
	for _, s := range responseSeeds {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, text string, toHEAD bool) {
		if len(text) > 64<<10 {
			return
		}
		method := http.MethodGet
		if toHEAD {
			method = http.MethodHead
		}
		sameResponse(t, text, method)
	})
}

// TestResponsesInPieces cuts them at every byte.
func TestResponsesInPieces(t *testing.T) {
	for _, text := range responseSeeds {
		want := ourWholeResponse(t, strings.NewReader(text), http.MethodGet)
		for cut := range len(text) {
			got := ourWholeResponse(t, io.MultiReader(strings.NewReader(text[:cut]), strings.NewReader(text[cut:])), http.MethodGet)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%q cut at %d:\n got %+v\nwant %+v", text, cut, got, want)
			}
		}
	}
}
