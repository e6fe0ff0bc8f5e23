package tcp

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/health"
)

// Options of a [Pool]. The zero Options are valid. Zero durations stand for the
// defaults named beside them.
type Options struct {
	// Name tells pools apart in logs, reports and errors. Empty: "pool".
	Name string
	// Policy picks. Zero: [Adaptive].
	Policy Policy
	// Probe asks each backend how it is, while [Pool.Run] runs. Nil: the pool
	// learns from its connections alone. What its method Validate() error says,
	// if it has one, is an error of [New]. Once a backend has passed it, one
	// that never has is taken for down.
	Probe health.Probe
	// Schedule says when to probe.
	Schedule health.Schedule
	// Outlier says which failures take a backend out.
	Outlier health.Outlier
	// Source tells the backends, while [Pool.Run] runs. Nil: they are those
	// given to [New] and [Pool.Update].
	Source Source
	// Limits bound the connections in hand.
	Limits Limits
	// TLS is for tls backends, with the certificates that this side shows.
	// Nil: the system's roots.
	TLS *tls.Config
	// Memory is for a Probe that tells which backend is the primary: the file
	// that remembers the incumbent and who is fenced, so that a restart of this
	// process does not forget. Its folder must be writable. Empty: nothing is
	// remembered, and as long as two claim to be primary after a start, none is
	// used.
	//
	// The pool uses one primary. Of two that claim to be it, the lower epoch
	// loses; in one epoch the incumbent keeps the traffic, and the newcomer is
	// fenced: it gets no connection, those it had are cut, and the log and the
	// report say so, until it has been seen as a replica, has a higher epoch, or
	// [Pool.SetPrimary] says otherwise. A backend that was away is asked again,
	// and all others too, before it is the primary again; if another was made
	// primary meanwhile, it is fenced, also if the other is away by then. One
	// that answers and turns the probe away ([health.ErrTurnedAway]) is not away:
	// it keeps its role and its connections, and others are elected without its
	// word.
	Memory string

	Dial      time.Duration // to connect, TLS included; 1 s. Negative: no limit
	Conns     int           // connections of [Pool.Serve] at once; more are refused; no limit
	Idle      time.Duration // without a byte either way, until a connection is cut; never, because databases keep theirs open for hours
	HalfOpen  time.Duration // likewise, once one side has ended its half; 30 s. Negative: never
	KeepAlive time.Duration // of silence until the backend is asked whether it is there; 30 s. Negative: never. The listener has its own
	Handshake time.Duration // for a client's TLS handshake; 10 s
	Drain     time.Duration // that connections are given once Serve's context ended; 10 s. Negative: none

	// Announce tells the backend who the client is, in clear in front of a TLS
	// handshake, as HAProxy does. Probes that connect by [health.Target.Dial]
	// say that they have no client. Zero: it does not.
	Announce ProxyProtocol
	// Refusal returns what a client is told, in the protocol's own words,
	// before its connection is closed because it cannot be carried. Nil:
	// nothing.
	Refusal func(error) []byte
	// Logger takes a line for each change of a backend, and for connections
	// that could not be carried. Nil: [slog.Default].
	Logger *slog.Logger
}

// Limits bound the connections in hand. The zero Limits bound nothing.
//
// One client of [Pool.Serve], an IPv4 address or an IPv6 /64, may hold seven times as
// many places as are left free, of each backend's and of all that are in use: a single
// application server in front of a database gets seven eighths of InFlight, and of
// fewer than eight all. What [Pool.DialContext] brings is counted in all alone.
type Limits struct {
	InFlight int           // connections at each backend at once; 0: no limit
	Queue    int           // connections that wait for a place; 0: 128. Negative: none
	Wait     time.Duration // how long each of them waits; 0: 5 s
}

// withDefaults fills in what o leaves out, and checks the rest.
func (o Options) withDefaults() (Options, error) {
	o.Name = cmp.Or(o.Name, "pool")
	o.Policy.pool = cmp.Or(o.Policy.pool, Adaptive().pool)
	o.Schedule = o.Schedule.WithDefaults()
	o.Outlier = o.Outlier.WithDefaults()
	o.Dial = cmp.Or(o.Dial, time.Second)
	o.HalfOpen = cmp.Or(o.HalfOpen, 30*time.Second)
	o.KeepAlive = cmp.Or(o.KeepAlive, 30*time.Second)
	o.Handshake = cmp.Or(o.Handshake, 10*time.Second)
	o.Drain = cmp.Or(o.Drain, 10*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.TLS != nil {
		o.TLS = o.TLS.Clone()
	}
	limits, err := o.Limits.limits().WithDefaults("connections")
	if err != nil {
		return o, err
	}
	o.Limits = Limits{limits.InFlight, limits.Queue, limits.Wait}
	if err := pool.Check(map[string]any{"Probe": o.Probe, "Source": o.Source}); err != nil {
		return o, err
	}
	return o, o.validate()
}

func (l Limits) limits() pool.Limits {
	return pool.Limits{InFlight: l.InFlight, Queue: l.Queue, Wait: l.Wait}
}

// validate checks the figures.
func (o Options) validate() error {
	if o.Conns < 0 || o.Idle < 0 || o.Handshake < 0 {
		return errors.New("balancer: Conns, Idle and Handshake are not negative")
	}
	if o.Announce > ProxyV2 {
		return fmt.Errorf("balancer: Announce is %d: want 0, ProxyV1 or ProxyV2", o.Announce)
	}
	if err := errors.Join(o.Schedule.Validate(), o.Outlier.Validate()); err != nil {
		return fmt.Errorf("balancer: %w", err)
	}
	return nil
}
