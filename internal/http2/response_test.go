package http2_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/http2"
)

// respond reads a response from "name=value" separated by blanks, as parse does a request.
func respond(text string, limit int, end bool) (string, error) {
	var r http2.Response
	mend := strings.NewReplacer("_", " ", `\r`, "\r", `\n`, "\n", `\0`, "\x00")
	for _, f := range strings.Fields(text) {
		name, value, _ := strings.Cut(f, "=")
		r.Add(mend.Replace(name), mend.Replace(value), limit)
	}
	b, err := r.Text(end)
	return string(b), err
}

func TestResponses(t *testing.T) {
	for text, want := range map[string]string{
		":status=200 a=b a=c":               "HTTP/1.1 200 OK\r\na: b\r\na: c\r\nTransfer-Encoding: chunked\r\n\r\n",
		":status=404 content-length=3":      "HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\n",
		":status=103 link=</a>":             "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
		":status=999 x=a:b_c":               "HTTP/1.1 999 status code 999\r\nx: a:b c\r\nTransfer-Encoding: chunked\r\n\r\n",
		":status=200 x=":                    "HTTP/1.1 200 OK\r\nx: \r\nTransfer-Encoding: chunked\r\n\r\n",
		":status=200 te=trailers trailer=a": "HTTP/1.1 200 OK\r\nte: trailers\r\ntrailer: a\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		got, err := respond(text, 1<<10, false)
		if err != nil || got != want {
			t.Errorf("%s: %q, %v", text, got, err)
			continue
		}
		var head http1.Head
		if n, err := head.ParseResponse([]byte(got), false, &http1.Limits{}); err != nil || n != len(got) {
			t.Errorf("%s: %d, %v", text, n, err)
		}
	}
	for name, text := range map[string]string{
		"no status": "a=b", "a status behind": "a=b :status=200", "two": ":status=200 :status=200", "of a request": ":status=200 :path=/",
		"a status that is none": ":status=0200", "of letters": ":status=2x0", "below 100": ":status=099", "101": ":status=101",
		"upper case": ":status=200 A=b", "a blank": ":status=200 a_b=c", "a colon": ":status=200 a:b=c", "no name": ":status=200 =c",
		"LF": `:status=200 a=b\nc`, "CR": `:status=200 a=b\rc`, "NUL": `:status=200 a=\0`, "a blank before": ":status=200 a=_b", "and behind": ":status=200 a=b_",
		"Connection": ":status=200 connection=close", "Transfer-Encoding": ":status=200 transfer-encoding=chunked", "Upgrade": ":status=200 upgrade=h2c",
		"Keep-Alive": ":status=200 keep-alive=timeout", "Proxy-Connection": ":status=200 proxy-connection=close",
	} {
		var large *http1.Refusal
		if got, err := respond(text, 1<<10, false); err == nil || errors.As(err, &large) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := respond(":status=100", 1<<10, true); err == nil {
		t.Error("an informational response ends its stream")
	}
	var large *http1.Refusal
	if got, err := respond(":status=200 a="+strings.Repeat("b", 100), 100, false); !errors.As(err, &large) {
		t.Errorf("too large: %q, %v", got, err)
	}
}

func TestReplyTrailers(t *testing.T) {
	h := make(http.Header)
	for _, f := range [][2]string{{"grpc-status", "0"}, {"x", "a b"}} {
		if !http2.AddReplyTrailer(h, f[0], f[1]) {
			t.Error(f)
		}
	}
	for _, f := range [][2]string{{":status", "200"}, {"X", "a"}, {"a b", "c"}, {"", "a"}, {"a", "b\r\nc: d"}, {"a", " b"}, {"a", "\x01"}} {
		if http2.AddReplyTrailer(h, f[0], f[1]) {
			t.Errorf("%q is a trailer", f)
		}
	}
	if len(h) != 2 || h.Get("Grpc-Status") != "0" || h.Get("X") != "a b" {
		t.Error(h)
	}
}

func TestPseudoFields(t *testing.T) {
	for _, c := range [][4]string{
		{"GET", "https", "shop.example", "/"}, {"POST", "http", "a:80", "/a?b=c"}, {"PURGE", "h2c", "", "*"},
		{"GET", "http", strings.Repeat("a", 200), "/" + strings.Repeat("b", 300)},
	} {
		fields, err := hpack.NewDecoder(0, nil).DecodeFull(http2.AppendRequest(nil, c[0], c[1], c[2], []byte(c[3])))
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, f := range fields {
			got[f.Name] = f.Value
		}
		if got[":method"] != c[0] || got[":scheme"] != c[1] || got[":authority"] != c[2] || got[":path"] != c[3] || (c[2] == "") != (len(fields) == 3) {
			t.Errorf("%q: %q", c, got)
		}
	}
}

func TestPieces(t *testing.T) {
	var q http2.Pieces
	want := strings.Repeat("0123456789", 5000)
	q.Put([]byte(want[:7]))
	q.Put([]byte(want[7:40_000]))
	q.Put([]byte(want[40_000:]))
	if q.Len() != len(want) {
		t.Error(q.Len())
	}
	var got strings.Builder
	p := make([]byte, 3001)
	for {
		n := q.Take(p)
		if n == 0 {
			break
		}
		got.Write(p[:n])
	}
	if got.String() != want || q.Len() != 0 || q.Drop() != 0 {
		t.Errorf("%d bytes of %d", got.Len(), len(want))
	}
	q.Put(p)
	if n := q.Drop(); n != len(p) || q.Len() != 0 {
		t.Error(n, q.Len())
	}
}
