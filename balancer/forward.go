package balancer

import (
	"net"
	"net/http/httputil"
	"net/netip"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// forward tells the backend who asks: X-Forwarded-For, -Proto, -Host and
// -Port, and Forwarded (RFC 7239). What the client brought of them counts only
// if the edge has found its peer trusted, and is then continued.
func forward(pr *httputil.ProxyRequest) {
	in, h := pr.In, pr.Out.Header
	rec := transit.From(in.Context())
	vetted := rec != nil && rec.Vetted
	if !vetted {
		fields.Clean(h, false)
	}
	by := transit.Client(in)
	var chain, forwarded []string
	host, port := "", ""
	if vetted {
		chain, forwarded = in.Header["X-Forwarded-For"], in.Header["Forwarded"]
		host, port = in.Header.Get("X-Forwarded-Host"), in.Header.Get("X-Forwarded-Port")
		if len(chain) > 0 || len(forwarded) > 0 {
			by = transit.Peer(in) // the client stands in the chain already
		}
	}
	if host == "" {
		host = in.Host
	}
	scheme := transit.Scheme(in)
	if port == "" {
		port = portOf(host, scheme)
	}
	if by.IsValid() {
		chain = append(chain[:len(chain):len(chain)], by.String())
	}
	if len(chain) > 0 {
		h["X-Forwarded-For"] = []string{strings.Join(chain, ", ")}
	} else {
		h.Del("X-Forwarded-For")
	}
	h["X-Forwarded-Proto"] = []string{scheme}
	h["X-Forwarded-Port"] = []string{port}
	element := "for=" + node(by)
	if host != "" { // HTTP/1.0 knows requests without
		h["X-Forwarded-Host"] = []string{host}
		element += ";host=" + quote(host)
	} else {
		h.Del("X-Forwarded-Host")
	}
	element += ";proto=" + scheme
	h["Forwarded"] = []string{strings.Join(append(forwarded[:len(forwarded):len(forwarded)], element), ", ")}
}

// portOf returns the port that the client addressed.
func portOf(host, scheme string) string {
	if _, port, err := net.SplitHostPort(host); err == nil && port != "" {
		return port
	}
	if scheme == "https" {
		return "443"
	}
	return "80"
}

// node writes an address as RFC 7239, section 6, wants it.
func node(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "unknown"
	case a.Is6():
		return `"[` + a.String() + `]"`
	}
	return a.String()
}

// quote writes s as a token, or else as a quoted string.
func quote(s string) string {
	if s != "" && strings.IndexFunc(s, func(c rune) bool {
		return c != '.' && c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}) < 0 {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
