package fields

import "net/textproto"

// CodingClass returns which class a line of Accept-Encoding belongs to, of those
// that name the common codings and say nothing else: lines of one class accept
// the same codings, in whatever order. Others have no class.
func CodingClass(line string) (class uint8, ok bool) {
	switch line { // nearly all
	case "gzip, deflate, br, zstd":
		return classGzip | classDeflate | classBrotli | classZstd, true
	case "gzip, deflate, br":
		return classGzip | classDeflate | classBrotli, true
	case "gzip, deflate":
		return classGzip | classDeflate, true
	case "gzip":
		return classGzip, true
	}
	if len(line) > 64 {
		return 0, false // no browser's, and who counts members stops somewhere
	}
	for line != "" {
		var member string
		member, line = CutMember(line)
		switch textproto.TrimString(member) {
		case "gzip":
			class |= classGzip
		case "deflate":
			class |= classDeflate
		case "br":
			class |= classBrotli
		case "zstd":
			class |= classZstd
		default:
			return 0, false
		}
	}
	return class, true
}

const (
	classGzip uint8 = 1 << iota
	classDeflate
	classBrotli
	classZstd
)
