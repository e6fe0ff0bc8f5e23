package fcgi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
)

var heads = []struct {
	name, sent string
	want       string // status and fields, or what the error says
}{
	{"as PHP sends it", "Status: 404 Not Found\r\nContent-type: text/html; charset=UTF-8\r\n\r\nbody", "404 map[Content-Type:[text/html; charset=UTF-8]]"},
	{"no status", "Content-Type: a/b\r\n\r\n", "200 map[Content-Type:[a/b]]"},
	{"LF alone", "Content-Type: a/b\nX: 1\n\n", "200 map[Content-Type:[a/b] X:[1]]"},
	{"both", "Content-Type: a/b\r\nX: 1\n\r\n", "200 map[Content-Type:[a/b] X:[1]]"},
	{"a location", "Location: /b\n\n", "302 map[Location:[/b]]"},
	{"a location with a status", "Location: https://shop.example/\nStatus: 301\n\n", "301 map[Location:[https://shop.example/]]"},
	{"a location of a page", "Status: 201 Created\nLocation: /b\n\n", "201 map[Location:[/b]]"},
	{"several cookies", "Set-Cookie: a=1\nset-cookie: b=2\n\n", "200 map[Set-Cookie:[a=1 b=2]]"},
	{"a status without a reason", "status:503\n\n", "503 map[]"},
	{"an odd status", "Status: 999 x\n\n", "999 map[]"},
	{"blanks around a value", "X: \t 1 \t\n\n", "200 map[X:[1]]"},
	{"an empty value", "X:\n\n", "200 map[X:[]]"},
	{"what is for one connection", "Connection: close, X-A\nX-A: 1\nTransfer-Encoding: chunked\nKeep-Alive: 1\nUpgrade: h2c\nTrailer: a\nX: 1\n\n", "200 map[X:[1]]"},
	{"a length", "Content-Length: 5\n\n", "200 map[Content-Length:[5]]"},

	{"nothing", "\r\n\r\n", "200 map[]"},
	{"an HTTP server's", "HTTP/1.1 200 OK\r\nX: 1\r\n\r\n", "line 1 of the script's header is no field"},
	{"output before it", "Notice: a in b.php\nContent-Type: a/b\n\n", "200 map[Content-Type:[a/b] Notice:[a in b.php]]"}, // it is a field, for all that is known
	{"output of a page before it", "<br />\nContent-Type: a/b\n\n", "line 1 of the script's header is no field"},
	{"a folded line", "X: 1\n 2\n\n", "line 2 of the script's header is no field"},
	{"a blank before the colon", "X : 1\n\n", "line 1"},
	{"no name", ": 1\n\n", "line 1"},
	{"a CR inside", "X: a\rSet-Cookie: b\n\n", "line 1"},
	{"a NUL inside", "X: a\x00\n\n", "line 1"},
	{"two statuses", "Status: 200\nStatus: 404\n\n", "two statuses"},
	{"a status that tells", "Status: 103 Early Hints\n\n", `says the status "103 Early Hints"`},
	{"a status that switches", "Status: 101\n\n", "says the status"},
	{"a status of letters", "Status: abc\n\n", "says the status"},
	{"a status of four digits", "Status: 2000\n\n", "says the status"},
	{"a negative status", "Status: -20\n\n", "says the status"},
	{"an empty status", "Status:\n\n", "says the status"},
	{"a long status", "Status: " + strings.Repeat("9", 1000) + "\n\n", "says the status"},
	{"two lengths", "Content-Length: 5\nContent-Length: 6\n\n", "Content-Length is no number"},
	{"a length that is none", "Content-Length: 5, 5\n\n", "Content-Length is no number"},
	{"a negative length", "Content-Length: -5\n\n", "Content-Length is no number"},
	{"a long line", "X: " + strings.Repeat("a", http1.MaxHeader) + "\n\n", "more than 1048576 bytes"},
	{"a line without an end", strings.Repeat("a", http1.MaxHeader+1), "more than 1048576 bytes"},
	{"many lines", strings.Repeat("X: 1\n", http1.MaxHeader/5+1) + "\n", "more than 1048576 bytes"},
}

func TestHead(t *testing.T) {
	for _, c := range heads {
		var h head
		n, err := h.read([]byte(c.sent))
		got := fmt.Sprint(h.status, " ", h.header)
		switch {
		case err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(c.want, "map")):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		case err == nil && got != c.want:
			t.Errorf("%s: %s, want %q", c.name, got, c.want)
		case err == nil && n != strings.LastIndex(c.sent, "\n")+1 && c.name != "nothing":
			t.Errorf("%s: %d bytes of %d", c.name, n, len(c.sent))
		}
	}
}

// FuzzHead: a head is read the same however it comes, and holds nothing that a header
// cannot.
func FuzzHead(f *testing.F) {
	for _, c := range heads {
		if len(c.sent) < 1000 {
			f.Add([]byte(c.sent))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var whole head
		n, err := whole.read(b)
		var h head
		var m int
		var err2 error
		for i := range len(b) {
			if m, err2 = h.read(b[:i+1]); m > 0 || err2 != nil {
				break
			}
		}
		if m != n || fmt.Sprint(err2) != fmt.Sprint(err) || err == nil && fmt.Sprint(h.status, h.header) != fmt.Sprint(whole.status, whole.header) {
			t.Fatalf("in one piece %d %v %v, byte by byte %d %v %v", n, err, whole.header, m, err2, h.header)
		}
		if n == 0 || err != nil {
			return
		}
		if whole.status < 200 || whole.status > 999 || whole.header == nil || whole.header["Status"] != nil {
			t.Fatalf("status %d, header %q", whole.status, whole.header)
		}
		for name, values := range whole.header {
			if !fields.Token(name) || name != http.CanonicalHeaderKey(name) || fields.HopByHop(name) || len(values) == 0 {
				t.Fatalf("field %q: %q", name, values)
			}
			for _, v := range values {
				if !fields.Value(v) {
					t.Fatalf("value %q", v)
				}
			}
		}
	})
}
