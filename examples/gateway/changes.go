package main

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// What a file changes: each function has its content take effect as a whole, or says
// what would be right.

// A mutable is what of the rules may change while the gateway serves. It belongs to
// whoever takes files up.
type mutable struct {
	closed bool           // for maintenance
	office []netip.Prefix // who is let through all the same
	moved  *router.Redirects
}

// back is when clients are told to come again in maintenance.
const back = 30 * time.Second

// maintenance is the rule for the time being: nil if there is none.
func (m mutable) maintenance() []router.Rule {
	if !m.closed {
		return nil
	}
	everybody := router.Test("maintenance", func(*http.Request) bool { return true })
	rule := router.Rule{Name: "maintenance", When: everybody, To: router.Maintenance(back)}
	if len(m.office) > 0 {
		rule.When = router.Not(router.Client(m.office...))
	}
	return []router.Rule{rule}
}

// redirects is the rule of what has moved: nil if nothing has.
func (m mutable) redirects() []router.Rule {
	if m.moved == nil || m.moved.Len() == 0 {
		return nil
	}
	return []router.Rule{{Name: "redirects", When: m.moved, To: m.moved}}
}

// watch has the files take effect that the flags name, for the first time.
func (t *tier) watch() error {
	c := t.config
	for _, f := range []*watched{
		{flag: "backends", paths: []string{c.backendsFile}, take: t.takeBackends},
		{flag: "redirects", paths: []string{c.redirects}, take: t.takeRedirects},
		{flag: "block", paths: []string{c.block}, take: t.takeBlock},
		{flag: "maintenance", paths: []string{c.maintenance}, take: t.takeMaintenance, optional: true},
		{flag: "tls-cert", paths: []string{c.cert, c.key}, take: t.takeCertificate},
		{flag: "basic", paths: []string{c.guard.basic}, take: t.takeBasic},
	} {
		if f.paths[0] == "" {
			continue
		}
		if err := t.files.add(f); err != nil {
			return err
		}
	}
	return nil
}

// change has another table take effect, if it keeps the claims.
func (t *tier) change(m mutable) error {
	if err := t.front.Update(t.rules(t.shop, t.streams, m)...); err != nil {
		return err
	}
	t.mutable = m
	return nil
}

func (t *tier) takeBackends(contents [][]byte) (string, error) {
	urls, err := parseBackends(contents[0])
	if err != nil {
		return "", err
	}
	at, said, err := splitBackends(urls)
	if err != nil {
		return "", err
	}
	if said != "" && said != t.said {
		return "", fmt.Errorf("the site of php-fpm is ?%s, and was ?%s when the gateway started: another takes a restart", said, cmp.Or(t.said, "none"))
	}
	// A base path may lead where only the origin may: the rules are proved over a pool
	// of these backends before anybody gets them.
	next, err := balancer.New(t.config.servers(at), balancer.Options{Name: "apps", Logger: t.log, Transport: transportOf(t.site)})
	if err != nil {
		return "", err
	}
	_, err = router.New(router.Options{Claims: t.claims}, t.rules(next, next, t.mutable)...)
	if err = errors.Join(err, next.Close()); err != nil {
		return "", err
	}
	before := t.backends
	if err := t.apps.Update(t.config.servers(at)); err != nil {
		return "", err
	}
	t.backends = urls
	return fmt.Sprintf("%d backends%s", len(urls), difference(before, urls)), nil
}

// difference says which of the names are new, and which are gone.
func difference(before, after []string) string {
	var b strings.Builder
	for _, s := range after {
		if !slices.Contains(before, s) {
			b.WriteString(", new: " + s)
		}
	}
	for _, s := range before {
		if !slices.Contains(after, s) {
			b.WriteString(", gone: " + s)
		}
	}
	return b.String()
}

func (t *tier) takeRedirects(contents [][]byte) (string, error) {
	moved, err := router.ReadRedirects(bytes.NewReader(contents[0]))
	if err != nil {
		return "", err
	}
	m, before := t.mutable, 0
	if m.moved != nil {
		before = m.moved.Len()
	}
	m.moved = moved
	return fmt.Sprintf("%d redirects, before %d", moved.Len(), before), t.change(m)
}

func (t *tier) takeBlock(contents [][]byte) (string, error) {
	blocked, err := parseNetworks(contents[0])
	if err != nil {
		return "", err
	}
	for flag, needed := range map[string][]netip.Prefix{"trust": t.config.trust, "purge-from": t.config.purgeFrom} {
		for _, p := range needed {
			if i := slices.IndexFunc(blocked, p.Overlaps); i >= 0 {
				return "", fmt.Errorf("%s has addresses of -%s %s: want it without", blocked[i], flag, p)
			}
		}
	}
	before := t.blocked
	if err := t.srv.Block(blocked); err != nil {
		return "", err
	}
	t.blocked = len(blocked)
	return fmt.Sprintf("%d networks are blocked, before %d", len(blocked), before), nil
}

const (
	maxNetworks = 1_000_000
	maxOffice   = 100 // networks that maintenance lets through, each of which is proved
)

// parseNetworks reads addresses and networks, one a line.
func parseNetworks(content []byte) (out []netip.Prefix, err error) {
	err = eachLine(content, func(line string) error {
		p, err := parsePrefix(line)
		switch {
		case err != nil:
			return err
		case p.Bits() == 0:
			return errors.New("that is everybody: want a part of them, or -maintenance FILE")
		case len(out) == maxNetworks:
			return fmt.Errorf("want %d networks at most", maxNetworks)
		}
		out = append(out, p)
		return nil
	})
	return out, err
}

func (t *tier) takeMaintenance(contents [][]byte) (string, error) {
	m := t.mutable
	m.closed, m.office = contents[0] != nil, nil
	if !m.closed {
		return "maintenance is over", t.change(m)
	}
	var err error
	if m.office, err = parseNetworks(contents[0]); err != nil {
		return "", err
	}
	if len(m.office) > maxOffice {
		return "", fmt.Errorf("%d networks are let through: want %d at most", len(m.office), maxOffice)
	}
	who := "everybody"
	if n := len(m.office); n > 0 {
		who = fmt.Sprintf("everybody but %d networks", n)
	}
	return "maintenance: " + who + " gets 503", t.change(m)
}

func (t *tier) takeCertificate(contents [][]byte) (string, error) {
	pair, err := tls.X509KeyPair(contents[0], contents[1])
	if err == nil {
		err = t.certificates.Reload()
	}
	if err != nil {
		return "", fmt.Errorf("%w: want PEM files, the certificate chain and the key that belongs to it", err)
	}
	names := append(pair.Leaf.DNSNames, pair.Leaf.Subject.CommonName)
	return fmt.Sprintf("a certificate for %s that ends on %s", names[0], pair.Leaf.NotAfter.Format(time.DateOnly)), nil
}

// certificatesOf reads the pair that the flags name.
func certificatesOf(c config) (*edge.CertificateSource, error) {
	if c.cert == "" {
		return nil, nil
	}
	s, err := edge.Certificates(c.cert, c.key)
	if err != nil {
		return nil, fmt.Errorf("-tls-cert, -tls-key: %w: want PEM files, the certificate chain and the key that belongs to it", err)
	}
	return s, nil
}

// changeable reports whether a flag names a file that is taken up while the gateway serves.
func (c config) changeable() bool {
	return c.backendsFile+c.redirects+c.block+c.maintenance+c.cert+c.guard.basic != ""
}
