package balancer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Source tells a pool its backends, again whenever they change.
//
// Backends yields until ctx ends. What it yields replaces the pool's backends,
// as [Pool.Update] does; with an error, or without a backend, the pool keeps
// those that it has: a name server that fails is no reason to stop serving.
type Source interface {
	Backends(ctx context.Context) iter.Seq2[[]Backend, error]
}

// DNS returns a source that resolves the host of the URL every so often; 0
// stands for 30 s. Each address becomes a backend of its own, named for it. One
// that is missing from an answer is held for two more, as some name servers
// tell a few of many each time; an answer that has none of those before is a
// move, and holds none. Until a first lookup succeeds, it is tried again after a
// second, then two, and so on.
//
// With a scheme of http+srv or h2c+srv the host is looked up as an SRV record
// (RFC 2782) that names ports too, of which the priorities become tiers and
// the weights weights:
//
//	balancer.DNS("http://apps.internal:8080", 0)
//	balancer.DNS("http+srv://_http._tcp.apps.internal", 0)
//
// A URL that is none, and a negative time, are errors of [New].
//
// The backends are asked by address: for https, name in [Options.TLS] the
// server whose certificate is to be expected.
func DNS(rawURL string, every time.Duration) Source {
	return dns{rawURL, cmp.Or(every, 30*time.Second), net.DefaultResolver}
}

type dns struct {
	url     string
	every   time.Duration
	resolve resolver
}

// check says what is wrong with the source before it is asked.
func (d dns) check() error {
	if d.every < 0 {
		return fmt.Errorf("DNS: every %s: want 0 or more", d.every)
	}
	u, err := parseURL(d.url, append([]string{"http+srv", "https+srv", "h2c+srv", "tcp+srv", "tls+srv"}, schemes...))
	if err != nil {
		return fmt.Errorf("DNS: %w", err)
	}
	if strings.HasSuffix(u.Scheme, "+srv") && u.Port() != "" {
		return fmt.Errorf("DNS: %q: an SRV record names the port: want none in the URL", d.url)
	}
	return nil
}

// resolver is what is used of a [net.Resolver].
type resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// Backends implements [Source].
func (d dns) Backends(ctx context.Context) iter.Seq2[[]Backend, error] {
	return func(yield func([]Backend, error) bool) {
		timer := time.NewTimer(0)
		defer timer.Stop()
		var last []Backend
		missing := make(map[string]int) // by URL: from how many answers in a row
		again := time.Second            // as long as none has succeeded
		for {
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			found, err := d.look(ctx)
			if ctx.Err() != nil {
				return
			}
			if len(found) > 0 {
				found = hold(last, found, missing)
			}
			if err != nil || !slices.EqualFunc(found, last, same) {
				if !yield(found, err) {
					return
				}
			}
			if len(found) > 0 {
				last = found
			}
			if last == nil {
				timer.Reset(min(again, d.every))
				again *= 2
			} else {
				timer.Reset(d.every)
			}
		}
	}
}

// obsolete is how many answers in a row must leave a backend out until it is
// gone.
const obsolete = 3

// hold returns found, and those of last that have not been missing for long.
func hold(last, found []Backend, missing map[string]int) []Backend {
	in := make(map[string]bool, len(found))
	for _, b := range found {
		in[b.URL] = true
		delete(missing, b.URL)
	}
	if !slices.ContainsFunc(last, func(b Backend) bool { return in[b.URL] }) {
		clear(missing)
		return found
	}
	for _, b := range last {
		if in[b.URL] {
			continue
		}
		if missing[b.URL]++; missing[b.URL] < obsolete {
			found = append(found, b)
		} else {
			delete(missing, b.URL)
		}
	}
	slices.SortFunc(found, byURL)
	return found
}

func byURL(a, b Backend) int { return strings.Compare(a.URL, b.URL) }

func same(a, b Backend) bool {
	return a.URL == b.URL && a.Weight == b.Weight && a.Tier == b.Tier
}

// look asks once. With a [leftOut] there are backends all the same.
func (d dns) look(ctx context.Context) ([]Backend, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	u, err := url.Parse(d.url)
	if err != nil {
		return nil, fmt.Errorf("balancer: source: %w", err)
	}
	var out []Backend
	if scheme, ok := strings.CutSuffix(u.Scheme, "+srv"); ok {
		out, err = d.services(ctx, *u, scheme)
	} else {
		out, err = d.hosts(ctx, *u)
	}
	// What cannot be used must not cost the rest.
	out = slices.DeleteFunc(out, func(b Backend) bool {
		_, _, bad := b.resolve()
		if bad != nil {
			err = errors.Join(err, bad)
		}
		return bad != nil
	})
	switch {
	case len(out) == 0 && err != nil:
		return nil, fmt.Errorf("balancer: source: %w", err)
	case len(out) == 0:
		return nil, fmt.Errorf("balancer: source: %s: %w", u.Hostname(), errEmpty)
	case err != nil:
		err = leftOut{fmt.Errorf("balancer: source: %w", err)}
	}
	slices.SortStableFunc(out, byURL)
	return slices.CompactFunc(out, func(a, b Backend) bool { return a.URL == b.URL }), err
}

var errEmpty = errors.New("the answer names nobody")

// leftOut is why some of an answer was left out.
type leftOut struct{ error }

func (e leftOut) Unwrap() error { return e.error }

func (d dns) hosts(ctx context.Context, u url.URL) ([]Backend, error) {
	addrs, err := d.resolve.LookupHost(ctx, u.Hostname())
	if err != nil {
		return nil, err
	}
	port := u.Port()
	var out []Backend
	for _, a := range addrs {
		if ip, err := netip.ParseAddr(a); err == nil { // an address has several spellings
			a = ip.Unmap().String()
		}
		switch {
		case port != "":
			u.Host = net.JoinHostPort(a, port)
		case strings.Contains(a, ":"):
			u.Host = "[" + a + "]"
		default:
			u.Host = a
		}
		out = append(out, Backend{URL: u.String()})
	}
	return out, nil
}

func (d dns) services(ctx context.Context, u url.URL, scheme string) ([]Backend, error) {
	// With an error there may be records all the same: those of valid names.
	_, records, err := d.resolve.LookupSRV(ctx, "", "", u.Hostname())
	var priorities []uint16
	for _, r := range records {
		priorities = append(priorities, r.Priority)
	}
	slices.Sort(priorities)
	priorities = slices.Compact(priorities)
	u.Scheme = scheme
	var out []Backend
	for _, r := range records {
		tier, _ := slices.BinarySearch(priorities, r.Priority)
		// A name is the same in capitals, and "." is none (RFC 2782).
		host := strings.ToLower(strings.TrimSuffix(r.Target, "."))
		if host == "" || strings.ContainsFunc(host, notOfName) || r.Port == 0 {
			err = errors.Join(err, fmt.Errorf("target %q, port %d: nobody is there", r.Target, r.Port))
			continue
		}
		u.Host = net.JoinHostPort(host, strconv.Itoa(int(r.Port)))
		out = append(out, Backend{URL: u.String(), Weight: int(max(r.Weight, 1)), Tier: tier})
	}
	return out, err
}

func notOfName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
}

// follow updates the pool from its source until ctx ends.
func (p *Pool) follow(ctx context.Context) {
	for backends, err := range p.opts.Source.Backends(ctx) {
		if part, ok := errors.AsType[leftOut](err); ok {
			p.log.LogAttrs(ctx, slog.LevelWarn, "some of what the source of backends named is left out", slog.Any("error", part.error))
			err = nil
		}
		if err == nil && len(backends) > 0 {
			err = p.Update(backends)
		}
		if err != nil && ctx.Err() == nil {
			p.log.LogAttrs(ctx, slog.LevelWarn, "the source of backends failed, so they stay as they are", slog.Any("error", err))
		}
	}
}
