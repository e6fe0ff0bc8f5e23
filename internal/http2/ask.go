package http2

// The numbers of pseudo-fields in HPACK's static table (RFC 7541, appendix A), and of those
// that stand there whole.
const (
	atAuthority      = 1
	atMethod         = 2
	wholeGET         = 2
	wholePOST        = 3
	atPath           = 4
	wholeSlash       = 4
	atScheme         = 6
	wholeHTTP        = 6
	wholeHTTPS       = 7
	indexed     byte = 0x80
)

// AppendRequest appends the pseudo-fields of a request (RFC 9113, section 8.3.1), whose
// fields are to follow. Nothing is said of an authority that is empty.
func AppendRequest(b []byte, method, scheme, authority string, path []byte) []byte {
	switch method {
	case "GET":
		b = append(b, indexed|wholeGET)
	case "POST":
		b = append(b, indexed|wholePOST)
	default:
		b = AppendString(appendInt(b, 0, 4, atMethod), method)
	}
	switch scheme {
	case "http":
		b = append(b, indexed|wholeHTTP)
	case "https":
		b = append(b, indexed|wholeHTTPS)
	default:
		b = AppendString(appendInt(b, 0, 4, atScheme), scheme)
	}
	if authority != "" {
		b = AppendString(appendInt(b, 0, 4, atAuthority), authority)
	}
	if string(path) == "/" {
		return append(b, indexed|wholeSlash)
	}
	return append(AppendLength(appendInt(b, 0, 4, atPath), len(path)), path...)
}
