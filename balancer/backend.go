package balancer

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/given"
	"github.com/foretier/foretier/internal/target"
)

// A Backend is one origin server of a pool.
type Backend struct {
	// Name is its identity in cookies, logs and metrics, which should outlive
	// a change of address. Empty: the URL's host and port, in lower case, or the
	// socket's path.
	Name string
	// URL is where it is: http, https, or h2c for HTTP/2 without TLS. A path
	// goes in front of each request's; a query or user is an error. Or it is a socket
	// of this machine, unix:///run/shop.sock, over which HTTP/1.1 is spoken. And it may be
	// a server of FastCGI, fcgi://10.0.0.11:9000 or fcgi:///run/php.sock, to which
	// package fcgi below this one knows the way: see [Options.Transport].
	URL string
	// Handler serves in this process, instead of URL.
	Handler http.Handler
	// Weight is its share of the requests beside the others'. 0: 1. Negative
	// is an error.
	Weight int
	// Tier 0 is used first; 1 is a backup that is used while no backend of
	// tier 0 is left, and so on. Negative is an error.
	Tier int
	// Labels are for the reader of a status.
	Labels map[string]string
}

// Backends returns a backend for each URL, each named for its host and port.
func Backends(urls ...string) []Backend {
	out := make([]Backend, len(urls))
	for i, u := range urls {
		out[i].URL = u
	}
	return out
}

// Mode is what an operator wants of a backend.
type Mode uint8

const (
	// Ready serves.
	Ready Mode = iota
	// Drain serves those only who are bound to it by the pool's [Affinity],
	// and after ten minutes nobody.
	Drain
	// Maintenance serves nobody; requests that it has in hand are finished.
	Maintenance
)

// String returns the mode's name in lower case.
func (m Mode) String() string { return pool.Mode(m).String() }

// A Status is how a backend is at one moment.
type Status struct {
	Backend
	Mode     Mode
	State    health.State
	Why      string        // in words
	Since    time.Time     // when State was entered; zero: from the start
	Until    time.Time     // when it is let back in after an ejection; zero: not ejected
	InFlight int           // requests from their pick to their closed body, without the streams
	Streams  int           // streams in hand: see [Limits.Streams]
	Waiting  int           // those of them without a response yet
	Latency  time.Duration // to expect until a response's header
	Requests uint64        // tried here since the start
	Failures uint64        // of these, without an answer or with 502, 503 or 504
}

// schemes are those of HTTP.
var schemes = pool.Schemes{
	Names: []string{"http", "https", "h2c", "fcgi"}, Sockets: true, Example: "http://10.0.0.11:8080",
	Words: "http://, https:// or h2c://, or fcgi:// with balancer/fcgi; for connections there is balancer/tcp",
}

// resolve checks b and fills in what it leaves out.
func (b Backend) resolve() (Backend, *url.URL, error) {
	b.Labels = maps.Clone(b.Labels)
	b.Weight = cmp.Or(b.Weight, 1)
	if b.Weight < 0 || b.Tier < 0 {
		return b, nil, fmt.Errorf("balancer: backend %s: neither weight nor tier may be negative", b.label())
	}
	if given.Typed(b.Handler) {
		return b, nil, fmt.Errorf("balancer: backend %s: Handler is a nil %T", b.label(), b.Handler)
	}
	if b.Handler != nil {
		if b.URL != "" {
			return b, nil, fmt.Errorf("balancer: backend %s has a URL and a Handler: one of them is right", b.label())
		}
		if b.Name == "" {
			return b, nil, errors.New("balancer: a backend with a Handler needs a Name")
		}
		return b, &url.URL{Scheme: "http", Host: "handler.invalid"}, nil
	}
	if b.URL == "" {
		return b, nil, fmt.Errorf("balancer: backend has neither URL nor Handler: want a URL such as %q", schemes.Example)
	}
	u, err := schemes.Parse(b.URL)
	if err != nil {
		return b, nil, fmt.Errorf("balancer: backend %w", err)
	}
	u.Host = strings.ToLower(u.Host) // a name is the same in capitals
	if b.Name == "" {
		b.Name = health.Target{URL: u}.Address()
	}
	if u.Host == "" { // a socket of this machine
		return b, u, nil
	}
	base := target.Of(u)
	base.Path = strings.TrimRight(base.Path, "/")
	base.Set(u)
	return b, u, nil
}

func (b Backend) label() string {
	if b.Name != "" {
		return b.Name
	}
	return fmt.Sprintf("%q", fields.WithoutLogin(b.URL))
}
