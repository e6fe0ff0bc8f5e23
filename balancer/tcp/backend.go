package tcp

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/health"
)

// A Backend is one server of a pool.
type Backend struct {
	// Name is its identity in logs and metrics, which should outlive a change
	// of address. Empty: the URL's host and port, in lower case.
	Name string
	// URL is where it is: tcp, or tls for TCP in TLS, with a host and a port.
	URL string
	// Weight is its share of the connections beside the others'. 0: 1. Negative
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

// schemes are those of connections.
var schemes = pool.Schemes{
	Names: []string{"tcp", "tls"}, Example: "tcp://10.0.0.31:3306",
	Words: "tcp:// or tls://; for HTTP there is package balancer", Port: true,
}

// resolve checks b and fills in what it leaves out.
func (b Backend) resolve() (Backend, *url.URL, error) {
	b.Labels = maps.Clone(b.Labels)
	b.Weight = cmp.Or(b.Weight, 1)
	u, err := schemes.Parse(b.URL)
	if err != nil {
		return b, nil, fmt.Errorf("balancer: backend %w", err)
	}
	u.Host = strings.ToLower(u.Host) // a name is the same in capitals
	if b.Name == "" {
		b.Name = health.Target{URL: u}.Address()
	}
	if b.Weight < 0 || b.Tier < 0 {
		return b, nil, fmt.Errorf("balancer: backend %s: neither weight nor tier may be negative", b.Name)
	}
	return b, u, nil
}

// Mode is what an operator wants of a backend.
type Mode uint8

const (
	// Ready takes connections.
	Ready Mode = iota
	// Drain takes no new ones; those that it has go on.
	Drain
	// Maintenance likewise.
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
	InFlight int           // connections in hand
	Latency  time.Duration // to expect until it has accepted one
	Conns    uint64        // tried here since the start
	Failures uint64        // of these, not accepted, or ended without having served

	Role    string        // as the probe last told: see [health.Result]; empty: none
	Epoch   uint64        // likewise
	Lag     time.Duration // likewise
	Primary bool          // it is the one that takes the writes; when it does not answer, until another is
	Barred  string        // why its role keeps connections from it; empty: nothing does
}

// atBest returns s as it would be if nothing were wrong with the backend for
// the moment: with its name, its labels and its role, and without trouble.
func (s Status) atBest() Status {
	return Status{Backend: s.Backend, State: health.Up, Conns: s.Conns, Role: s.Role, Epoch: s.Epoch, Primary: s.Primary}
}
