//go:build linux

// Package load sends what wrk and h2load cannot: requests at a fixed rate whose
// latency counts from when they were due, frames over websockets, new
// connections over TLS, and connections that idle. It runs in a process of its
// own, on the load's CPU: see [Main].
package load

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// A Spec says what to send. Kind is one of the functions of this package.
type Spec struct {
	Kind    string // exchange, handshakes or idle
	Addr    string // of the server
	Conns   int
	TLS     bool     // idle only; handshakes always are
	Hello   []byte   // sent first on each connection, and answered by a head
	Ask     [][]byte // requests or frames, as they go over the wire
	Order   []int32  // which of them is sent nth, over and over; nil: in turn
	Frame   int      // bytes of each answer; 0: an HTTP/1.1 response
	Rate    float64  // requests a second; 0: each connection asks again at once
	Seconds float64
	Count   int // ends after so many answers, if that is before Seconds
}

// A Result is what came of it. Latencies are in microseconds, from when a
// request was due.
type Result struct {
	Done, Failed        int
	Seconds             float64
	P50, P99, P999, Max float64
	Alive               int    // idle: connections that were still open in the end
	Why                 string // of the first failure
}

// Main reads a Spec from in and writes the Result to out. For idle it writes one
// when all connections are open and one more once in has ended.
func Main(in io.Reader, out io.Writer) error {
	var s Spec
	dec := json.NewDecoder(in)
	if err := dec.Decode(&s); err != nil {
		return err
	}
	enc := json.NewEncoder(out)
	var res Result
	var err error
	switch s.Kind {
	case "exchange":
		res, err = Exchange(s)
	case "handshakes":
		res, err = Handshakes(s)
	case "idle":
		err = Idle(s, func(r Result) error {
			if err := enc.Encode(r); err != nil {
				return err
			}
			_, err := io.Copy(io.Discard, in)
			return err
		}, &res)
	default:
		err = fmt.Errorf("no load is called %q", s.Kind)
	}
	if err != nil {
		return err
	}
	return enc.Encode(res)
}

// latencies fills in the quantiles. It sorts d.
func (r *Result) latencies(d []time.Duration) {
	if len(d) == 0 {
		return
	}
	slices.Sort(d)
	at := func(q float64) float64 { return micros(d[int(q*float64(len(d)-1))]) }
	r.P50, r.P99, r.P999, r.Max = at(.50), at(.99), at(.999), micros(d[len(d)-1])
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
