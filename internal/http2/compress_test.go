package http2_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/foretier/foretier/internal/http2"
)

// TestBlocksAreReadByOthers, with a table and without one.
func TestBlocksAreReadByOthers(t *testing.T) {
	long := strings.Repeat("0123456789", 40)
	now := time.Date(2026, 11, 27, 21, 0, 0, 0, time.UTC)
	for _, status := range []int{200, 204, 206, 304, 400, 404, 500, 103, 429, 503} {
		b := http2.AppendStatus([]byte{http2.NoTable}, status)
		b = http2.AppendField(b, "Content-Type", "text/html")
		b = http2.AppendField(b, "X-Long-Name-Of-A-Field", long)
		b = http2.AppendField(b, "X-Odd", " a\r\nb: c\x00 ")
		b = http2.AppendField(b, "not a token", "1")
		b = http2.AppendField(b, "", "1")
		b = http2.AppendNumber(http2.AppendName(b, "Age"), 12345)
		b = http2.AppendDense(http2.AppendName(b, "Etag"), `"www.example.com"`)
		b = http2.AppendDate(b, now)
		var dec *hpack.Decoder
		var got []string
		dec = hpack.NewDecoder(0, func(f hpack.HeaderField) { got = append(got, f.Name+": "+f.Value) })
		if _, err := dec.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := dec.Close(); err != nil {
			t.Fatal(err)
		}
		want := []string{":status: " + http.StatusText(status), "content-type: text/html", "x-long-name-of-a-field: " + long, "x-odd: a  b: c ",
			"age: 12345", `etag: "www.example.com"`, "date: Fri, 27 Nov 2026 21:00:00 GMT"}
		want[0] = ":status: " + strings.Fields(http.StatusText(status) + " ")[0]
		got[0] = strings.Replace(got[0], ":status: "+itoa(status), want[0], 1)
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%d: got\n%q\nwant\n%q", status, got, want)
		}
	}
}

func itoa(n int) string {
	return string([]byte{byte('0' + n/100), byte('0' + n/10%10), byte('0' + n%10)})
}

// TestTheStaticTable: every name that is sent by its number is read as that name.
func TestTheStaticTable(t *testing.T) {
	for _, name := range []string{
		"Accept-Ranges", "Access-Control-Allow-Origin", "Age", "Allow", "Cache-Control", "Content-Disposition", "Content-Encoding",
		"Content-Language", "Content-Length", "Content-Location", "Content-Range", "Content-Type", "Cookie", "Date", "Etag", "Expires",
		"Last-Modified", "Link", "Location", "Proxy-Authenticate", "Refresh", "Retry-After", "Server", "Set-Cookie",
		"Accept-Charset", "Accept-Encoding", "Accept-Language", "Accept", "Authorization", "Expect", "From", "Host", "If-Match",
		"If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Max-Forwards", "Proxy-Authorization", "Range", "Referer",
		"Strict-Transport-Security", "Transfer-Encoding", "User-Agent", "Vary", "Via", "Www-Authenticate", "X-Other",
	} {
		b := http2.AppendField(nil, name, "v")
		fields, err := hpack.NewDecoder(0, nil).DecodeFull(b)
		if err != nil || len(fields) != 1 || fields[0].Name != strings.ToLower(name) || fields[0].Value != "v" {
			t.Errorf("%s: %v, %v", name, fields, err)
		}
		if name != "X-Other" && len(b) > 4 {
			t.Errorf("%s takes %d bytes: it is not sent by number", name, len(b))
		}
	}
}
