package balancer

import (
	"net/http/httputil"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// forward tells the backend who asks: X-Forwarded-For, -Proto, -Host and
// -Port, and Forwarded (RFC 7239). Of what came with the request only the chain
// of addresses is continued, and only if the edge has found its peer trusted.
// Host and port are those that the rules and the cache have judged: a proxy in
// front may hand on what its client says of them, and then a page for one host
// would be stored under another.
func forward(pr *httputil.ProxyRequest) {
	in, h := pr.In, pr.Out.Header
	vetted := transit.From(in.Context()).Vetted
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
	if by.IsValid() {
		chain = append(chain, by.String())
	}
	if len(chain) > 0 {
		h["X-Forwarded-For"] = []string{strings.Join(chain, ", ")}
	} else {
		h.Del("X-Forwarded-For")
		chain = []string{"unknown"} // RFC 7239, section 6.2
	}
	var b strings.Builder
	for i, hop := range chain {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("for=" + node(hop))
	}
	scheme := transit.Scheme(in)
	h["X-Forwarded-Proto"] = []string{scheme}
	h["X-Forwarded-Port"] = []string{portOf(in.Host, scheme)}
	if in.Host != "" { // HTTP/1.0 knows requests without
		h["X-Forwarded-Host"] = []string{in.Host}
		b.WriteString(";host=" + quote(in.Host))
	} else {
		h.Del("X-Forwarded-Host")
	}
	b.WriteString(";proto=" + scheme)
	h["Forwarded"] = []string{b.String()}
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

// node writes an entry of X-Forwarded-For as RFC 7239, section 6, wants it.
func node(hop string) string {
	addr, ok := fields.Addr(hop)
	switch {
	case !ok:
		return "unknown"
	case addr.Is6():
		return `"[` + addr.String() + `]"`
	}
	return addr.String()
}

// escaper escapes what may not stand in a quoted string as it is. It is made once:
// its tables are 6 KB.
var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// quote writes s as a token, or else as a quoted string.
func quote(s string) string {
	if s != "" && strings.IndexFunc(s, func(c rune) bool {
		return c != '.' && c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}) < 0 {
		return s
	}
	return `"` + escaper.Replace(s) + `"`
}
