package pool

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DNS asks a name server for backends, again and again.
type DNS struct {
	URL      string
	Schemes  Schemes // that the URL may have, also with "+srv"
	Every    time.Duration
	Resolver resolver
}

// A Found is an address that a name server told.
type Found struct {
	URL          string
	Weight, Tier int
}

// Validate says what is wrong with the source before it is asked.
func (d DNS) Validate() error {
	if d.Every < 0 {
		return fmt.Errorf("DNS: every %s: want 0 or more", d.Every)
	}
	all := d.Schemes
	all.Sockets = false // which have no names
	for _, name := range d.Schemes.Names {
		all.Names = append(all.Names[:len(all.Names):len(all.Names)], name+"+srv")
	}
	u, err := all.Parse(d.URL)
	if err != nil {
		return fmt.Errorf("DNS: %w", err)
	}
	if strings.HasSuffix(u.Scheme, "+srv") && u.Port() != "" {
		return fmt.Errorf("DNS: %q: an SRV record names the port: want none in the URL", d.URL)
	}
	return nil
}

// resolver is what is used of a [net.Resolver].
type resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// Ask yields the addresses whenever they change.
func (d DNS) Ask(ctx context.Context) iter.Seq2[[]Found, error] {
	return func(yield func([]Found, error) bool) {
		timer := time.NewTimer(0)
		defer timer.Stop()
		var last []Found
		missing := make(map[string]int) // by URL: from how many answers in a row
		again := time.Second            // as long as none has succeeded
		for {
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			list, err := d.Look(ctx)
			if ctx.Err() != nil {
				return
			}
			if len(list) > 0 {
				list = hold(last, list, missing)
			}
			if err != nil || !slices.Equal(list, last) {
				if !yield(list, err) {
					return
				}
			}
			if len(list) > 0 {
				last = list
			}
			if last == nil {
				timer.Reset(min(again, d.Every))
				again *= 2
			} else {
				timer.Reset(d.Every)
			}
		}
	}
}

// obsolete is how many answers in a row must leave a backend out until it is
// gone.
const obsolete = 3

// Backends yields what each makes of the addresses.
func Backends[B any](ctx context.Context, d DNS, each func(Found) B) iter.Seq2[[]B, error] {
	return func(yield func([]B, error) bool) {
		for list, err := range d.Ask(ctx) {
			var out []B
			for _, f := range list {
				out = append(out, each(f))
			}
			if !yield(out, err) {
				return
			}
		}
	}
}

// hold returns list, and those of last that have not been missing for long.
func hold(last, list []Found, missing map[string]int) []Found {
	in := make(map[string]bool, len(list))
	for _, f := range list {
		in[f.URL] = true
		delete(missing, f.URL)
	}
	if !slices.ContainsFunc(last, func(f Found) bool { return in[f.URL] }) {
		clear(missing)
		return list
	}
	for _, f := range last {
		if in[f.URL] {
			continue
		}
		if missing[f.URL]++; missing[f.URL] < obsolete {
			list = append(list, f)
		} else {
			delete(missing, f.URL)
		}
	}
	slices.SortFunc(list, byURL)
	return list
}

func byURL(a, b Found) int { return strings.Compare(a.URL, b.URL) }

// Look asks once. With a [leftOut] there are backends all the same.
func (d DNS) Look(ctx context.Context) ([]Found, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	u, err := url.Parse(d.URL)
	if err != nil {
		return nil, fmt.Errorf("balancer: source: %w", err)
	}
	var out []Found
	if scheme, ok := strings.CutSuffix(u.Scheme, "+srv"); ok {
		out, err = d.services(ctx, *u, scheme)
	} else {
		out, err = d.hosts(ctx, *u)
	}
	// What cannot be used must not cost the rest.
	out = slices.DeleteFunc(out, func(f Found) bool {
		_, bad := d.Schemes.Parse(f.URL)
		if bad != nil {
			bad = fmt.Errorf("balancer: backend %w", bad)
		}
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
	return slices.CompactFunc(out, func(a, b Found) bool { return a.URL == b.URL }), err
}

var errEmpty = errors.New("the answer names nobody")

// leftOut is why some of an answer was left out.
type leftOut struct{ error }

func (e leftOut) Unwrap() error { return e.error }

func (d DNS) hosts(ctx context.Context, u url.URL) ([]Found, error) {
	addrs, err := d.Resolver.LookupHost(ctx, u.Hostname())
	if err != nil {
		return nil, err
	}
	port := u.Port()
	var out []Found
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
		out = append(out, Found{URL: u.String(), Weight: 1})
	}
	return out, nil
}

func (d DNS) services(ctx context.Context, u url.URL, scheme string) ([]Found, error) {
	// With an error there may be records all the same: those of valid names.
	_, records, err := d.Resolver.LookupSRV(ctx, "", "", u.Hostname())
	var priorities []uint16
	for _, r := range records {
		priorities = append(priorities, r.Priority)
	}
	slices.Sort(priorities)
	priorities = slices.Compact(priorities)
	u.Scheme = scheme
	var out []Found
	for _, r := range records {
		tier, _ := slices.BinarySearch(priorities, r.Priority)
		// A name is the same in capitals, and "." is none (RFC 2782).
		host := strings.ToLower(strings.TrimSuffix(r.Target, "."))
		if host == "" || strings.ContainsFunc(host, notOfName) || r.Port == 0 {
			err = errors.Join(err, fmt.Errorf("target %q, port %d: nobody is there", r.Target, r.Port))
			continue
		}
		u.Host = net.JoinHostPort(host, strconv.Itoa(int(r.Port)))
		out = append(out, Found{URL: u.String(), Weight: int(max(r.Weight, 1)), Tier: tier})
	}
	return out, err
}

func notOfName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
}
