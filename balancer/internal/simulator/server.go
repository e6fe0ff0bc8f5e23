package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// workers and service describe each server: so many requests at once, the rest
// wait; a request takes a log-normal time with that mean and a coefficient of
// variation of 1.
const (
	workers = 4
	service = 50 * time.Millisecond
)

// A fault is how a server behaves at a moment. The zero fault is none.
type fault struct {
	slower float64       // times the service takes; 0: 1
	fails  float64       // share of requests answered with status, after quick
	status int           //
	quick  time.Duration //
	hangs  bool          // takes requests and answers none
	refuse bool          // takes no connection
}

// A server is one backend.
type server struct {
	name  string
	sim   *engine
	rng   *rand.Rand
	state func(now time.Duration) fault
	long  float64 // share of requests that take a hundred times as long

	busy  int
	line  []*job
	stuck []*job // taken by a server that hangs
}

// A job is one attempt at a server.
type job struct {
	done func(status int) // 0: it could not connect
	gone bool             // the gateway has given it up
}

// take gives the server a job.
func (s *server) take(j *job) {
	f := s.state(s.sim.now)
	const way = 200 * time.Microsecond // there and back
	switch {
	case f.refuse:
		s.sim.after(way, func() { j.done(0) })
	case f.hangs:
		s.stuck = append(s.stuck, j)
	case f.fails > 0 && s.rng.Float64() < f.fails:
		s.sim.after(f.quick, func() { j.done(f.status) })
	default:
		s.line = append(s.line, j)
		s.work()
	}
}

// work starts what may start.
func (s *server) work() {
	for s.busy < workers && len(s.line) > 0 {
		j := s.line[0]
		s.line = s.line[1:]
		if j.gone {
			continue
		}
		s.busy++
		s.sim.after(s.takes(), func() {
			s.busy--
			if !j.gone {
				j.done(200)
			}
			s.work()
		})
	}
}

// takes draws how long a request takes.
func (s *server) takes() time.Duration {
	sigma := math.Sqrt(math.Log(2)) // CV 1
	x := math.Exp(sigma*s.rng.NormFloat64() - sigma*sigma/2)
	if f := s.state(s.sim.now); f.slower > 0 {
		x *= f.slower
	}
	if s.long > 0 && s.rng.Float64() < s.long {
		x *= 100
	}
	return time.Duration(x * float64(service))
}

// resume lets a server that hung go on with what it took.
func (s *server) resume() {
	s.line = append(s.stuck, s.line...)
	s.stuck = nil
	s.work()
}
