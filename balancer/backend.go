package balancer

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/foretier/foretier/health"
)

// A Backend is one origin server of a pool.
type Backend struct {
	// Name is its identity in cookies, logs and metrics, which should outlive
	// a change of address. Empty: the URL's host and port.
	Name string
	// URL is where it is: http, https, or h2c for HTTP/2 without TLS; for
	// connections, tcp, or tls for TCP in TLS, with a port. A path goes in
	// front of each request's; a query or user is an error.
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

var modeNames = [...]string{"ready", "drain", "maintenance"}

// String returns the mode's name in lower case.
func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// A Status is how a backend is at one moment.
type Status struct {
	Backend
	Mode     Mode
	State    health.State
	Why      string        // in words
	Since    time.Time     // when State was entered; zero: from the start
	Until    time.Time     // when it is let back in after an ejection; zero: not ejected
	InFlight int           // requests from their pick to their closed body
	Waiting  int           // those of them without a response yet
	Latency  time.Duration // to expect until a response's header
	Requests uint64        // tried here since the start
	Failures uint64        // of these, without an answer or with 502, 503 or 504

	Role    string        // as the probe last told: see [health.Result]; empty: none
	Epoch   uint64        // likewise
	Lag     time.Duration // likewise
	Primary bool          // it is the one that takes the writes; when it does not answer, until another is
	Barred  string        // why its role keeps connections from it; empty: nothing does
}

var schemes = []string{"http", "https", "h2c", "tcp", "tls"}

// resolve checks b and fills in what it leaves out.
func (b Backend) resolve() (Backend, *url.URL, error) {
	b.Labels = maps.Clone(b.Labels)
	if b.Weight == 0 {
		b.Weight = 1
	}
	if b.Weight < 0 || b.Tier < 0 {
		return b, nil, fmt.Errorf("balancer: backend %s: neither weight nor tier may be negative", b.label())
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
	u, err := url.Parse(b.URL)
	if err != nil {
		return b, nil, fmt.Errorf("balancer: backend: %w", err)
	}
	switch {
	case !slices.Contains(schemes, u.Scheme):
		return b, nil, fmt.Errorf("balancer: backend %q: the URL starts with http://, https:// or h2c://, or for connections tcp:// or tls://", b.URL)
	case u.Hostname() == "":
		return b, nil, fmt.Errorf("balancer: backend %q: the URL names no host", b.URL)
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return b, nil, fmt.Errorf("balancer: backend %s: the URL has a host and perhaps a path, no query, fragment or user", u.Redacted())
	}
	if (u.Scheme == "tcp" || u.Scheme == "tls") && (u.Port() == "" || u.Path != "") {
		return b, nil, fmt.Errorf("balancer: backend %q: want a host and a port, such as %s://10.0.0.31:3306", b.URL, u.Scheme)
	}
	if b.Name == "" {
		b.Name = health.Target{URL: u}.Address()
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = strings.TrimRight(u.RawPath, "/")
	return b, u, nil
}

func (b Backend) label() string {
	if b.Name != "" {
		return b.Name
	}
	return fmt.Sprintf("%q", b.URL)
}
