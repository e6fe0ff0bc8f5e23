package router

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/router/internal/proof"
)

type hostMatcher struct {
	noParams
	hosts []string
}

// Host matches the host that was asked for, in any case, without port and
// trailing dot. "*.shop.example" matches every host below shop.example, but
// not shop.example itself.
func Host(hosts ...string) Matcher {
	m := hostMatcher{hosts: make([]string, len(hosts))}
	for i, h := range hosts {
		m.hosts[i] = h
		if _, port := fields.SplitPort(h); port == "" { // check refuses the others
			m.hosts[i] = fields.Hostname(h)
		}
	}
	return m
}

func (m hostMatcher) match(v *view) bool {
	host := v.host()
	for _, h := range m.hosts {
		if suffix, ok := strings.CutPrefix(h, "*"); ok {
			if len(host) > len(suffix) && strings.HasSuffix(host, suffix) {
				return true
			}
		} else if host == h {
			return true
		}
	}
	return false
}

func (m hostMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m hostMatcher) String() string             { return list("Host", m.hosts) }
func (m hostMatcher) check() error {
	for _, h := range m.hosts {
		name := strings.TrimPrefix(h, "*.")
		switch {
		case strings.HasPrefix(name, "[") && fields.Hostname(name) == name:
		case name == "" || strings.ContainsAny(name, "*/ ") || fields.Hostname(name) != name || strings.HasPrefix(name, ".") || strings.Contains(name, ".."):
			return fmt.Errorf("Host(%q) is no host: want a name without scheme and port, such as shop.example, or *.shop.example", h)
		case strings.ContainsFunc(name, func(c rune) bool { return c >= 0x80 }):
			return fmt.Errorf("Host(%q) never matches: want the xn-- name that browsers send", h)
		case strings.ContainsFunc(name, func(c rune) bool { return !isWord(byte(c)) && c != '.' }):
			return fmt.Errorf("Host(%q) is no host: want letters, digits, hyphens and dots", h)
		}
	}
	return notEmpty("Host", len(m.hosts))
}

func (m hostMatcher) tell(d *proof.Space) {
	for _, h := range m.hosts {
		host := strings.Replace(h, "*", d.Word(), 1)
		d.Add("host", func(r *http.Request) { r.Host = host })
	}
}

func (m hostMatcher) says(d *proof.Space, _ *proof.Class) proof.Formula {
	return d.Set("host", m.String(), m.Match)
}

// host returns the host that was asked for, which is read once.
func (v *view) host() string {
	if v.rd == nil {
		return fields.Hostname(v.r.Host)
	}
	if v.rd.host == "" {
		v.rd.host = fields.Hostname(v.r.Host)
	}
	return v.rd.host
}
