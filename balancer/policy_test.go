package balancer

import (
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/balancer/internal/inprocess"
	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/health"
)

// field returns candidates of equal weight, one for each number in hand.
func field(inFlight ...int) []Candidate {
	var out []Candidate
	for i, n := range inFlight {
		out = append(out, Candidate{Name: string(rune('a' + i)), InFlight: n, Waiting: n, Latency: time.Millisecond, Weight: 1})
	}
	return out
}

// share picks many times and returns how often each candidate was taken.
func share(p Policy, c []Candidate, n int) []float64 {
	rng := rand.New(rand.NewPCG(1, 2))
	out := make([]float64, len(c))
	for range n {
		out[p.Pick(PickInfo{Rand: rng.Uint64()}, Given(c...))]++
	}
	for i := range out {
		out[i] /= float64(n)
	}
	return out
}

func TestAdaptivePicks(t *testing.T) {
	cases := []struct {
		name string
		edit func([]Candidate)
		want int // never
	}{
		{"not the slow one", func(c []Candidate) { c[1].Latency = time.Second }, 1},
		{"not the busy one", func(c []Candidate) { c[2].InFlight, c[2].Waiting = 20, 20 }, 2},
		{"not the one that hangs", func(c []Candidate) { c[0].Oldest = time.Second }, 0},
		{"not the one in a slow start", func(c []Candidate) { c[3].Weight = 0.1 }, 3},
	}
	for _, c := range cases {
		list := field(1, 1, 1, 1)
		c.edit(list)
		for i, s := range share(Adaptive(), list, 1000) {
			if i == c.want && s > 0 || i != c.want && s < 0.2 {
				t.Errorf("%s: candidate %d got %.2f", c.name, i, s)
			}
		}
	}
	list := field(0, 0, 0)
	list[1].Latency = 1900 * time.Microsecond // next to nothing
	for i, s := range share(Adaptive(), list, 10000) {
		if math.Abs(s-1./3) > 0.02 {
			t.Errorf("of idle equals, %d got %.3f", i, s)
		}
	}
	list[2].Weight = 3
	if s := share(Adaptive(), list, 10000)[2]; math.Abs(s-0.6) > 0.02 {
		t.Errorf("weight 3 of 5 got %.3f", s)
	}
	list[1].Latency = 0 // nobody has tried
	if s := share(Adaptive(), list, 100)[1]; s != 1 {
		t.Errorf("the unknown one got %.3f", s)
	}
	// Of many, two are drawn: the worst is never the better of two.
	list = field(1, 1, 1, 1, 1, 1, 1, 9)
	if got := share(Adaptive(), list, 10000)[7]; got != 0 {
		t.Errorf("the busiest of eight got %.3f", got)
	}
	for i, s := range share(Adaptive(), field(1, 1, 1, 1, 1, 1, 1, 1), 10000) {
		if math.Abs(s-0.125) > 0.02 {
			t.Errorf("of equals, %d got %.3f", i, s)
		}
	}
}

func TestLeastInFlightPicks(t *testing.T) {
	if got := share(LeastInFlight(), field(3, 2, 1, 2, 3, 4), 100)[2]; got != 1 {
		t.Errorf("the idlest got %.2f of all", got)
	}
	list := field(2, 2)
	list[0].Weight = 3
	if got := share(LeastInFlight(), list, 100)[0]; got != 1 {
		t.Errorf("the one of more weight got %.2f", got)
	}
}

func TestRoundRobinIsSmooth(t *testing.T) {
	list := field(0, 0, 0)
	list[0].Weight = 5
	p := RoundRobin()
	got := ""
	for range 7 {
		got += list[p.Pick(PickInfo{}, Given(list...))].Name
	}
	if got != "aabacaa" {
		t.Errorf("got %s, want aabacaa", got)
	}
	// One that leaves and comes back finds its turn.
	got = ""
	for i := range 6 {
		now := list
		if i == 2 {
			now = list[:2]
		}
		got += now[p.Pick(PickInfo{}, Given(now...))].Name
	}
	if strings.Count(got, "a") < 4 {
		t.Errorf("after a change of candidates: %s", got)
	}
}

// Who is only asked, of whatever candidates, gives nobody's turn away.
func TestRoundRobinKeepsTurnsWhenItIsAsked(t *testing.T) {
	list := field(0, 0, 0)
	asked, plain := RoundRobin(), RoundRobin()
	for i := range 12 {
		for _, some := range [][]Candidate{list, list[1:], list[:2]} {
			asked.Pick(PickInfo{Peek: true}, Given(some...))
		}
		now := list[i%2:] // the first comes and goes
		told := asked.Pick(PickInfo{Peek: true}, Given(now...))
		if got, want := asked.Pick(PickInfo{}, Given(now...)), plain.Pick(PickInfo{}, Given(now...)); got != want || told != want {
			t.Errorf("pick %d: told %d, then picked %d, want %d", i, told, got, want)
		}
	}
}

func TestHashIsTheSameInEveryProcess(t *testing.T) {
	p := Hash(func(r *http.Request) string { return r.URL.Path }, 0)
	list := field(0, 0, 0, 0)
	got := ""
	for i := range 12 {
		r := httptest.NewRequest("GET", "/product/"+strconv.Itoa(i), nil)
		got += list[p.Pick(PickInfo{Request: r}, Given(list...))].Name
	}
	if want := "addbacdcacba"; got != want {
		t.Errorf("got %s, want %s: gateways of two versions would disagree", got, want)
	}
}

func TestHashMovesOnlyTheKeysOfTheOneThatLeft(t *testing.T) {
	p := Hash(nil, -1)
	all := field(0, 0, 0, 0, 0)
	less := append(append([]Candidate(nil), all[:2]...), all[3:]...)
	moved, count := 0, map[string]int{}
	const n = 5000
	for k := range uint64(n) {
		before := all[p.Pick(PickInfo{Key: pool.Mix(k)}, Given(all...))].Name
		after := less[p.Pick(PickInfo{Key: pool.Mix(k)}, Given(less...))].Name
		count[before]++
		if before != after {
			if before != "c" {
				t.Fatalf("key %d moved from %s, which stayed", k, before)
			}
			moved++
		}
	}
	if moved != count["c"] || moved > n*3/10 || moved < n/10 {
		t.Errorf("%d of %d keys moved, c had %d", moved, n, count["c"])
	}
}

func TestHashBoundsTheLoad(t *testing.T) {
	p := Hash(nil, 0)
	list := field(0, 0, 0, 0)
	most := 0
	for i := range 100 {
		k := p.Pick(PickInfo{Key: 42}, Given(list...)) // one key only
		list[k].InFlight++
		if most = max(most, list[k].InFlight); float64(list[k].InFlight) > math.Ceil(1.25*float64(i+1)/4) {
			t.Fatalf("request %d: one has %d in hand", i+1, list[k].InFlight)
		}
	}
	if most < 30 {
		t.Errorf("the key's first choice got only %d of 100", most)
	}
}

func TestHashByWeight(t *testing.T) {
	list := field(0, 0, 0)
	list[0].Weight = 2
	count := 0
	for k := range uint64(10000) {
		if Hash(nil, -1).Pick(PickInfo{Key: pool.Mix(k)}, Given(list...)) == 0 {
			count++
		}
	}
	if count < 4700 || count > 5300 {
		t.Errorf("weight 2 of 4 got %d of 10000 keys", count)
	}
}

func TestPicksDoNotAllocate(t *testing.T) {
	p := newPool(t, Backends("http://h1", "http://h2", "http://h3", "http://h4", "http://h5", "http://h6"), Options{})
	c := Candidates{pool.Candidates{Now: time.Now(), List: p.view.Snap.Load().Use, Snap: p.view.Snap.Load()}}
	for name, policy := range map[string]Policy{"adaptive": Adaptive(), "least": LeastInFlight(), "turns": RoundRobin(), "hash": Hash(nil, 0)} {
		policy.Pick(PickInfo{Key: 1}, c)
		if n := testing.AllocsPerRun(100, func() { policy.Pick(PickInfo{Key: 1, Rand: 7}, c) }); n != 0 {
			t.Errorf("%s: %v allocations a pick", name, n)
		}
	}
}

func TestRamp(t *testing.T) {
	at := time.Unix(1000, 0)
	for after, want := range map[time.Duration]float64{0: 0.1, time.Second: 0.1, 15 * time.Second: 0.5, 30 * time.Second: 1, time.Hour: 1} {
		if got := pool.Ramp(at.UnixNano(), at.Add(after)); got != want {
			t.Errorf("after %v: got %v, want %v", after, got, want)
		}
	}
	if pool.Ramp(0, at) != 1 {
		t.Error("a backend that never was away starts slowly")
	}
}

// The black hole of AWS' "Implementing health checks".
func TestFailingFastDrawsNoTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := func(http.ResponseWriter, *http.Request) { time.Sleep(10 * time.Millisecond) }
		backends, way := ways(inprocess.Transport{Handler: http.HandlerFunc(page)}, inprocess.Transport{Handler: http.HandlerFunc(page)}, status(503))
		p := newPool(t, backends, Options{Transport: way, Outlier: health.Outlier{Consecutive: -1, MinSuccess: -1}})
		for range 100 {
			get(p, "GET", "/", nil)
		}
		if n := p.Backends()[2].Requests; n > 10 {
			t.Errorf("%d of 100 requests went to the one that fails at once", n)
		}
	})
}

// Seen in traefik #12306.
func TestAnOldLatencyStarvesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		page := func(http.ResponseWriter, *http.Request) { time.Sleep(10 * time.Millisecond) }
		p := newPool(t, here(func(http.ResponseWriter, *http.Request) {
			time.Sleep(10 * time.Millisecond)
			if slow.Load() {
				time.Sleep(time.Second)
			}
		}, page, page), Options{})
		run := func(n int) uint64 {
			before := p.Backends()[0].Requests
			for range n {
				get(p, "GET", "/", nil)
			}
			return p.Backends()[0].Requests - before
		}
		run(60)
		slow.Store(true)
		if n := run(100); n > 10 {
			t.Errorf("while it is slow it gets %d of 100", n)
		}
		slow.Store(false)
		time.Sleep(20 * time.Second)
		if n := run(300); n < 60 {
			t.Errorf("when it is well again it gets %d of 300", n)
		}
	})
}
