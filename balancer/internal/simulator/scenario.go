package main

import (
	"math/rand/v2"
	"time"

	"github.com/foretier/foretier/balancer/internal/load"
)

// A scenario is a pool of servers, the work it gets, and what befalls it.
type scenario struct {
	id, title string
	servers   int
	gateways  int     // 0: 1
	load      float64 // of the capacity of all servers when well
	lasts     time.Duration
	faultAt   time.Duration // when it begins; 0: none, or from the start
	state     func(i int, rng *rand.Rand) func(now time.Duration) fault
	long      float64
	streams   int // open on server 0 all the time
	resumes   time.Duration
}

const (
	from = 10 * time.Second // when a fault begins
	to   = 30 * time.Second // and ends
	end  = 40 * time.Second
)

// only lets server i alone have the fault between from and to.
func only(i int, f fault) func(int, *rand.Rand) func(time.Duration) fault {
	return func(k int, _ *rand.Rand) func(time.Duration) fault {
		return func(now time.Duration) fault {
			if k == i && now >= from && now < to {
				return f
			}
			return fault{}
		}
	}
}

func well(int, *rand.Rand) func(time.Duration) fault {
	return func(time.Duration) fault { return fault{} }
}

var scenarios = []scenario{
	{id: "S1", title: "equal servers, 80% load", servers: 16, load: 0.8, lasts: end, state: well},
	{id: "S1b", title: "equal servers, four gateways", servers: 16, gateways: 4, load: 0.8, lasts: end, state: well},
	{id: "S2", title: "2 of 16 are 16 times slower", servers: 16, load: 0.6, lasts: end,
		state: func(i int, _ *rand.Rand) func(time.Duration) fault {
			return func(time.Duration) fault {
				if i < 2 {
					return fault{slower: 16}
				}
				return fault{}
			}
		}},
	{id: "S3", title: "a neighbour halves 30% of the servers at times", servers: 16, load: 0.65, lasts: end, state: antagonist},
	{id: "S4", title: "one answers 500 in 1 ms", servers: 16, load: 0.6, lasts: end, faultAt: from,
		state: only(0, fault{fails: 1, status: 500, quick: time.Millisecond})},
	{id: "S5", title: "one accepts and never answers", servers: 16, load: 0.6, lasts: end, faultAt: from, resumes: to,
		state: only(0, fault{hangs: true})},
	{id: "S6", title: "one refuses connections", servers: 16, load: 0.6, lasts: end, faultAt: from, state: only(0, fault{refuse: true})},
	{id: "S7", title: "one restarts, cold for 30 s", servers: 8, load: 0.6, lasts: 50 * time.Second, faultAt: from,
		state: func(i int, _ *rand.Rand) func(time.Duration) fault {
			return func(now time.Duration) fault {
				switch {
				case i == 0 && now >= from && now < from+3*time.Second:
					return fault{refuse: true}
				case i == 0 && now >= from+3*time.Second && now < from+33*time.Second:
					return fault{slower: 5}
				}
				return fault{}
			}
		}},
	{id: "S8", title: "60% of the servers answer 503", servers: 10, load: 0.3, lasts: end, faultAt: from,
		state: func(i int, _ *rand.Rand) func(time.Duration) fault {
			return func(now time.Duration) fault {
				if i < 6 && now >= from && now < to {
					return fault{fails: 1, status: 503, quick: time.Millisecond}
				}
				return fault{}
			}
		}},
	{id: "S10", title: "one fails 30% of its requests", servers: 16, load: 0.6, lasts: end, faultAt: from,
		state: only(0, fault{fails: 0.3, status: 500, quick: service})},
	{id: "S11", title: "1% of requests take 100 times as long", servers: 16, load: 0.35, lasts: end, state: well, long: 0.01},
	{id: "S12", title: "50 streams on one of 4 servers", servers: 4, load: 0.7, lasts: end, state: well, streams: 50},
}

// antagonist halves the speed of 30% of the servers for 200 ms to 5 s, with
// pauses of the same length.
func antagonist(i int, rng *rand.Rand) func(time.Duration) fault {
	if i%10 >= 3 {
		return well(i, rng)
	}
	var turns []time.Duration
	for t := time.Duration(0); t < end; {
		t += 200*time.Millisecond + time.Duration(rng.Int64N(int64(4800*time.Millisecond)))
		turns = append(turns, t)
	}
	return func(now time.Duration) fault {
		n := 0
		for n < len(turns) && turns[n] <= now {
			n++
		}
		if n%2 == 1 {
			return fault{slower: 2}
		}
		return fault{}
	}
}

// play runs the scenario once.
func (sc scenario) play(who contender, seed uint64) *stats {
	sim := new(engine)
	st := &stats{faultAt: sc.faultAt}
	// What the servers do does not depend on who asks.
	world := rand.New(rand.NewPCG(seed, 1))
	var servers []*server
	for i := range sc.servers {
		servers = append(servers, &server{
			name: string(rune('a' + i)), sim: sim, long: sc.long,
			rng: rand.New(rand.NewPCG(seed, uint64(100+i))), state: sc.state(i, world),
		})
	}
	gateways := max(sc.gateways, 1)
	for n := range gateways {
		rng := rand.New(rand.NewPCG(seed, uint64(1000+n)))
		g := newGateway(sim, rng, who, servers, st)
		if sc.streams > 0 {
			m := g.members[0]
			for range sc.streams {
				t := new(load.Ticket)
				m.load.Start(t, epoch)
				t.Leave() // its header came long ago
			}
			m.streams = sc.streams
		}
		// Poisson: nobody waits for anybody.
		rate := sc.load * float64(sc.servers*workers) / service.Seconds() / float64(gateways)
		var next func()
		next = func() {
			g.serve()
			sim.after(time.Duration(rng.ExpFloat64()/rate*float64(time.Second)), next)
		}
		sim.at(0, next)
	}
	if sc.resumes > 0 {
		for _, s := range servers {
			sim.at(sc.resumes, s.resume)
		}
	}
	sim.run(sc.lasts)
	return st
}
