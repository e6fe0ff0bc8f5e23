package memo

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/http2"
)

// An Answer is the head of an answer over HTTP/1.1, cut where its age, its
// rest of freshness and the name of its request stand.
type Answer struct {
	Status int
	Head   [4]string
	Dated  bool // it has a Date
	Length int64

	block  [4]string // the same over HTTP/2, cut in front of the values of these
	status string    // Cache-Status, up to its ttl
}

// hit is what stands before the rest of freshness in Cache-Status.
const hit = "; hit; ttl="

// Compose returns the answer 200 or 304 with this header, as package h1 would send it,
// or reports that there is more to it: of the header, or of how the body is sent.
func Compose(status int, header http.Header) (a Answer, ok bool) {
	a.Status = status
	switch status {
	case http.StatusOK:
		if a.Length = fields.Length(header); a.Length < 0 || len(header["Content-Type"]) != 1 || !plain(header) {
			return Answer{}, false
		}
	case http.StatusNotModified:
		if !plain(header) || header["Content-Length"] != nil {
			return Answer{}, false
		}
	default:
		return Answer{}, false
	}
	_, a.Dated = header["Date"]
	names := make([]string, 0, len(header))
	for name := range header {
		if name != "Content-Length" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	b := http1.AppendStatus(nil, 1, status)
	block := http2.AppendStatus(nil, status)
	cuts := 0
	cut := func(b []byte) {
		if cuts < 3 {
			a.Head[cuts], a.block[cuts] = string(b), string(block)
			block = block[:0]
		}
		cuts++
	}
	for _, name := range names {
		values := header[name]
		last := len(values) - 1
		for i, v := range values {
			switch {
			case name == "Age" && i == last && isNumber(v):
				block = http2.AppendName(block, name)
				cut(append(append(b, name...), ": "...))
				b = append(b[:0], "\r\n"...)
			case name == "Cache-Status" && i == last && cuts == 1:
				before, ttl, found := cutLast(v, hit)
				if !found || !isNumber(ttl) {
					return Answer{}, false
				}
				a.status = before + hit
				block = http2.AppendName(block, name)
				line := http1.AppendField(nil, name, before+hit)
				cut(append(b, strings.TrimSuffix(string(line), "\r\n")...))
				b = append(b[:0], "\r\n"...)
			case name == "X-Request-Id" && last == 0 && cuts == 2:
				block = http2.AppendName(block, name)
				cut(append(append(b, name...), ": "...))
				b = append(b[:0], "\r\n"...)
			default:
				b = http1.AppendField(b, name, v)
				block = http2.AppendField(block, name, v)
			}
		}
	}
	if status == http.StatusOK {
		block = http2.AppendNumber(http2.AppendName(block, "Content-Length"), a.Length)
	}
	a.Head[3], a.block[3] = string(b), string(block)
	return a, cuts == 3
}

// plain reports whether the header says nothing of the connection or of trailers.
func plain(header http.Header) bool {
	for name := range header {
		switch name {
		case "Connection", "Upgrade", "Transfer-Encoding", "Trailer":
			return false
		}
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return false
		}
	}
	return true
}

// cutLast cuts s around the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 63)
	return err == nil
}

// Size is how many bytes the texts of the head have, for either version.
func (a *Answer) Size() (n int) {
	for i, text := range a.Head {
		n += len(text) + len(a.block[i])
	}
	return n + len(a.status)
}

// Append appends the head, with its end. id is what the request is named.
func (a *Answer) Append(b []byte, age, ttl int64, id string, now time.Time, date func([]byte, time.Time) []byte) []byte {
	b = strconv.AppendInt(append(b, a.Head[0]...), age, 10)
	b = strconv.AppendInt(append(b, a.Head[1]...), ttl, 10)
	b = append(append(append(b, a.Head[2]...), id...), a.Head[3]...)
	if !a.Dated {
		b = date(b, now)
	}
	if a.Status == http.StatusOK {
		b = strconv.AppendInt(append(b, "Content-Length: "...), a.Length, 10)
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// AppendBlock appends the head as a block of fields of HTTP/2, as Append does.
func (a *Answer) AppendBlock(b []byte, age, ttl int64, id string, now time.Time, date func([]byte, time.Time) []byte) []byte {
	b = http2.AppendNumber(append(b, a.block[0]...), age)
	b = append(b, a.block[1]...)
	var room [20]byte
	digits := strconv.AppendInt(room[:0], ttl, 10)
	b = append(http2.AppendLength(b, len(a.status)+len(digits)), a.status...)
	b = append(append(b, digits...), a.block[2]...)
	b = append(http2.AppendString(b, id), a.block[3]...)
	if !a.Dated {
		b = date(b, now)
	}
	return b
}
