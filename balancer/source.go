package balancer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
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
// stands for 30 s. Each address becomes a backend of its own, named for it.
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
			if err != nil || !slices.EqualFunc(found, last, same) {
				if !yield(found, err) {
					return
				}
			}
			if err == nil {
				last = found
			}
			timer.Reset(d.every)
		}
	}
}

func same(a, b Backend) bool {
	return a.URL == b.URL && a.Weight == b.Weight && a.Tier == b.Tier
}

// look asks once.
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
	if err != nil {
		return nil, fmt.Errorf("balancer: source: %w", err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("balancer: source: %s: %w", u.Hostname(), errEmpty)
	}
	slices.SortFunc(out, func(a, b Backend) int { return strings.Compare(a.URL, b.URL) })
	return slices.CompactFunc(out, func(a, b Backend) bool { return a.URL == b.URL }), nil
}

var errEmpty = errors.New("the answer names nobody")

func (d dns) hosts(ctx context.Context, u url.URL) ([]Backend, error) {
	addrs, err := d.resolve.LookupHost(ctx, u.Hostname())
	if err != nil {
		return nil, err
	}
	port := u.Port()
	var out []Backend
	for _, a := range addrs {
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
	_, records, err := d.resolve.LookupSRV(ctx, "", "", u.Hostname())
	if err != nil {
		return nil, err
	}
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
		u.Host = net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port)))
		out = append(out, Backend{URL: u.String(), Weight: int(max(r.Weight, 1)), Tier: tier})
	}
	return out, nil
}

// follow updates the pool from its source until ctx ends.
func (p *Pool) follow(ctx context.Context) {
	for backends, err := range p.opts.Source.Backends(ctx) {
		if err == nil && len(backends) > 0 {
			err = p.Update(backends)
		}
		if err != nil && ctx.Err() == nil {
			p.log.LogAttrs(ctx, slog.LevelWarn, "the source of backends failed, so they stay as they are", slog.Any("error", err))
		}
	}
}
