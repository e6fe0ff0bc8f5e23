package fields

import "strings"

// Poses reports whether PHP would take a cookie called sent for the one called
// name, though it is another: PHP has decoded percent signs in names and makes
// an underscore of dots, spaces and brackets, so that "..Host-sid", which any
// host of the domain may set, becomes "__Host-sid" (CVE-2022-31629,
// CVE-2020-7070).
func Poses(sent, name string) bool {
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

// PHPName returns what PHP makes of a cookie's name, which Poses then compares.
func PHPName(name string) string {
	return strings.NewReplacer(" ", "_", ".", "_", "[", "_").Replace(strings.TrimLeft(name, " "))
}
