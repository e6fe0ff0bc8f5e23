package session

import (
	"net/http"
	"net/textproto"
	"strings"

	"github.com/foretier/foretier/internal/fields"
)

// poses reports whether PHP would take a cookie called sent for the one called
// name, though it is another: PHP has decoded percent signs in names and makes
// an underscore of dots, spaces and brackets, so that "..Host-sid", which any
// host of the domain may set, becomes "__Host-sid" (CVE-2022-31629,
// CVE-2020-7070).
func poses(sent, name string) bool {
	if sent == name || !strings.ContainsAny(sent, " .[+%\t") {
		return false
	}
	at := 0 // in name
	for i := 0; i < len(sent); i++ {
		c := sent[i]
		if c == '%' && i+2 < len(sent) && unhex(sent[i+1]) >= 0 && unhex(sent[i+2]) >= 0 {
			c = byte(unhex(sent[i+1])<<4 | unhex(sent[i+2]))
			i += 2
		}
		switch c {
		case 0:
			return at == len(name) // PHP stops here
		case ' ', '+':
			if at == 0 {
				continue
			}
			c = '_'
		case '.', '[', '\t':
			c = '_'
		}
		if at == len(name) || name[at] != c {
			return false
		}
		at++
	}
	return at == len(name)
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// hasPoser reports whether h carries a cookie that poses as name.
func hasPoser(h http.Header, name string) bool {
	for _, line := range h["Cookie"] {
		if !strings.ContainsAny(line, ".[+%\t ") { // the least that a poser needs
			continue
		}
		for len(line) > 0 {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			k, _, _ := strings.Cut(textproto.TrimString(pair), "=")
			if poses(textproto.TrimString(k), name) {
				return true
			}
		}
	}
	return false
}

// withoutPosers returns h without the cookies that pose as name, and h itself
// if there are none.
func withoutPosers(h http.Header, name string) http.Header {
	if !hasPoser(h, name) {
		return h
	}
	h = h.Clone()
	fields.DropCookies(h, func(sent string) bool { return poses(sent, name) })
	return h
}
