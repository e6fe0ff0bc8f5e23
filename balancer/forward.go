package balancer

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// onward puts into h, which is empty, what goes on of the header of in: all but what
// is meant for one connection, and what the pool tells its backends. Its values may
// be those of in, and are only to be read.
//
// An Upgrade is asked for on each connection anew. That trailers are understood is
// told to a backend if the client says so.
func (p *proxy) onward(h http.Header, in *http.Request) {
	asked := in.Header["Upgrade"]
	if len(asked) == 0 || !in.ProtoAtLeast(1, 1) || !fields.HasToken(in.Header["Connection"], "upgrade") { // HTTP/1.0 has none (RFC 9110, section 7.8)
		asked = nil
	}
	fields.AddEndToEnd(h, in.Header)
	if fields.HasToken(in.Header["Te"], "trailers") {
		h["Te"] = []string{"trailers"}
	}
	if len(asked) > 0 && asked[0] != "" {
		h["Connection"], h["Upgrade"] = []string{"Upgrade"}, asked[:1]
	}
	forward(h, in)
	p.hop.sign(h, in)
	if n, counts := maxForwards(in); counts {
		h["Max-Forwards"] = []string{strconv.FormatUint(n-1, 10)}
	}
	if h["User-Agent"] == nil {
		h["User-Agent"] = nobody
	}
}

// nobody as User-Agent has every transport send none.
var nobody = []string{""}

// forward tells the backend who asks: X-Forwarded-For, -Proto, -Host and
// -Port, and Forwarded (RFC 7239); and in Foretier-Split to which arms of splits he
// belongs. Of what came with the request only the chain
// of addresses is continued, and only if the edge has found its peer trusted.
// Host and port are those that the rules and the cache have judged: a proxy in
// front may hand on what its client says of them, and then a page for one host
// would be stored under another.
func forward(h http.Header, in *http.Request) {
	rec := transit.From(in.Context())
	vetted := rec.Vetted
	if !vetted {
		fields.Clean(h, false)
	}
	by := transit.Client(in)
	var chain []string
	if vetted {
		if chain = fields.List(in.Header["X-Forwarded-For"]); len(chain) > 0 {
			by = transit.Peer(in) // the client stands in the chain already
		}
	}
	values := make([]string, 5)
	set := func(name, value string) {
		values[0] = value
		h[name], values = values[:1:1], values[1:]
	}
	b := make([]byte, 0, 128)
	for _, hop := range chain {
		addr, _ := fields.Addr(hop)
		b = append(appendNode(append(b, "for="...), addr), ", "...)
	}
	switch {
	case by.IsValid() && len(chain) == 0: // as nearly always
		set("X-Forwarded-For", by.String())
		b = appendNode(append(b, "for="...), by)
	case by.IsValid():
		set("X-Forwarded-For", strings.Join(append(chain, by.String()), ", "))
		b = appendNode(append(b, "for="...), by)
	case len(chain) > 0:
		set("X-Forwarded-For", strings.Join(chain, ", "))
		b = b[:len(b)-len(", ")]
	default:
		delete(h, "X-Forwarded-For")
		b = append(b, "for=unknown"...) // RFC 7239, section 6.2
	}
	scheme := transit.Scheme(in)
	set("X-Forwarded-Proto", scheme)
	set("X-Forwarded-Port", portOf(in.Host, scheme))
	if in.Host != "" { // HTTP/1.0 knows requests without
		set("X-Forwarded-Host", in.Host)
		b = appendQuoted(append(b, ";host="...), in.Host)
	} else {
		delete(h, "X-Forwarded-Host")
	}
	set("Forwarded", string(append(append(b, ";proto="...), scheme...)))
	if rec.Arms != "" {
		h["Foretier-Split"] = []string{rec.Arms}
	}
}

// portOf returns the port that the client addressed.
func portOf(host, scheme string) string {
	if _, port := fields.SplitPort(host); len(port) > 1 {
		return port[1:]
	}
	if scheme == "https" {
		return "443"
	}
	return "80"
}

// appendNode writes an address as RFC 7239, section 6, wants it; the zero Addr is none.
func appendNode(b []byte, addr netip.Addr) []byte {
	addr = addr.Unmap().WithZone("")
	switch {
	case !addr.IsValid():
		return append(b, "unknown"...)
	case addr.Is6():
		return append(addr.AppendTo(append(b, `"[`...)), `]"`...)
	}
	return addr.AppendTo(b)
}

// appendQuoted writes s as a token, or else as a quoted string.
func appendQuoted(b []byte, s string) []byte {
	if s != "" && strings.IndexFunc(s, func(c rune) bool {
		return c != '.' && c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}) < 0 {
		return append(b, s...)
	}
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '\\' || s[i] == '"' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}
