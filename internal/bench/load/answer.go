//go:build linux

package load

import (
	"bytes"
	"strconv"
)

// An answer finds the end of what a server sends. With a frame it is that many
// bytes, else an HTTP/1.1 response by RFC 9112, section 6.3, but that in chunks
// must not hold what ends it: the bodies are the benchmark's own.
type answer struct {
	frame  int
	whole  bool
	status int
	got    int
	head   []byte // until it is whole
	inBody bool
	length int    // -1: in chunks
	tail   []byte // the last bytes of chunks
}

var endOfChunks = []byte("\r\n0\r\n\r\n")

// take reads on in p, which holds nothing of another answer.
func (a *answer) take(p []byte) {
	if a.frame > 0 {
		a.got += len(p)
		a.whole = a.got >= a.frame
		return
	}
	if !a.inBody {
		head := p
		if len(a.head) > 0 { // it comes in pieces
			a.head = append(a.head, p...)
			head = a.head
		}
		i := bytes.Index(head, []byte("\r\n\r\n"))
		if i < 0 {
			if len(a.head) == 0 {
				a.head = append(a.head, p...)
			}
			return
		}
		a.parse(head[:i+2])
		p = head[i+4:]
		if a.length < 0 {
			p = head[i+2:] // an empty body ends behind the head's line
		}
		if a.status > 100 && a.status < 200 && a.status != 101 { // an interim response
			*a = answer{}
			a.take(p)
			return
		}
		a.inBody = true
	}
	if a.length >= 0 {
		a.got += len(p)
		a.whole = a.got >= a.length
		return
	}
	if len(p) < len(endOfChunks) {
		p = append(a.tail, p...)
	}
	a.tail = append(a.tail[:0:0], p[max(0, len(p)-len(endOfChunks)):]...)
	a.whole = bytes.Equal(a.tail, endOfChunks)
}

// parse reads status and framing of a head that ends with its last line.
func (a *answer) parse(head []byte) {
	if len(head) >= 12 {
		a.status, _ = strconv.Atoi(string(head[9:12])) // 0 if it is no response
	}
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch value = bytes.TrimSpace(value); {
		case equalFold(name, "Content-Length"):
			a.length, _ = strconv.Atoi(string(value))
		case equalFold(name, "Transfer-Encoding"):
			a.length = -1
		}
	}
	if a.status < 200 || a.status == 204 || a.status == 304 {
		a.length = 0
	}
}

// equalFold allocates nothing, as bytes.EqualFold with a conversion might.
func equalFold(b []byte, s string) bool {
	return len(b) == len(s) && bytes.EqualFold(b, []byte(s))
}
