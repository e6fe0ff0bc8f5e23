package pool

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/foretier/foretier/health"
)

func newSet(tb testing.TB, l Limits, p Policy, specs ...Spec) *Set {
	tb.Helper()
	s := New(Options{Name: "p", Log: slog.New(slog.DiscardHandler), MakeWay: func(Spec) (any, health.Target) { return nil, health.Target{} }, DropWay: func(any) {}}, l, p)
	tb.Cleanup(s.End)
	if err := s.Update(specs); err != nil {
		tb.Fatal(err)
	}
	return s
}

func specs(n int, weight func(int) int) []Spec {
	out := make([]Spec, n)
	for i := range out {
		out[i] = Spec{Name: fmt.Sprint("web", i), At: fmt.Sprint(i), Weight: weight(i)}
	}
	return out
}

func all(s *Set, now time.Time) Candidates {
	snap := s.Whole.Current(now)
	return Candidates{Now: now, List: snap.Use, Snap: snap}
}

// smooth is nginx's algorithm as it is written down: a reference.
type smooth map[string]int

func (s smooth) next(list []*Entry) string {
	best, total := "", 0
	for _, e := range list {
		s[e.Name] += e.Weight
		total += e.Weight
		if best == "" || s[e.Name] > s[best] {
			best = e.Name
		}
	}
	s[best] -= total
	return best
}

// TestRoundRobinIsNginxs: whatever the weights, and whoever joins and leaves, turns
// are those of the algorithm that looks at all.
func TestRoundRobinIsNginxs(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for play := range 200 {
		list := specs(2+r.IntN(20), func(int) int { return 1 + r.IntN(1+play%7) })
		s := newSet(t, Limits{}, new(RoundRobin), list...)
		want, now := smooth{}, time.Now()
		for step := range 20 {
			for range 1 + r.IntN(50) {
				c := all(s, now)
				pick := c.List[s.Whole.policy.Choose(PickInfo{Now: now}, c)].Name
				if next := want.next(c.List); pick != next {
					t.Fatalf("play %d, step %d: %s's turn, want %s's", play, step, pick, next)
				}
			}
			if now = now.Add(time.Hour); len(list) > 2 && r.IntN(2) == 0 { // so that nobody starts slowly
				gone := r.IntN(len(list))
				delete(want, list[gone].Name)
				list = slices.Delete(slices.Clone(list), gone, gone+1)
			} else {
				list = slices.Insert(slices.Clone(list), r.IntN(len(list)), Spec{Name: fmt.Sprint("new", play, step), At: "x", Weight: 1 + r.IntN(3)})
			}
			if err := s.Update(list); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestWhoIsFullMissesItsTurns: the others' shares stay as their weights are, and it is
// owed nothing when it has room again.
func TestWhoIsFullMissesItsTurns(t *testing.T) {
	s := newSet(t, Limits{InFlight: 1}, new(RoundRobin), specs(20, func(i int) int { return 1 + i%2 })...)
	now := time.Now()
	pick := func() string { return s.Whole.Choose(new(Ask), now, false).Entry.Name }
	var full Place
	if c, err := s.Whole.Take(&Ask{Pin: "web5"}, &full, now); err != nil || c.Entry.Name != "web5" {
		t.Fatal(c.Entry, err)
	}
	n := map[string]int{}
	const turns = 280
	for range 100 * turns {
		n[pick()]++
	}
	for i := range 20 {
		name := fmt.Sprint("web", i)
		want := 100 * turns * (1 + i%2) / 28 // of 30, without web5's two
		if i == 5 {
			want = 0
		}
		if got := n[name]; got < want*95/100 || got > want*105/100 {
			t.Errorf("%s has had %d of %d turns, want about %d", name, got, 100*turns, want)
		}
	}
	full.Leave()
	s.Whole.Free(&full)
	clear(n)
	for range 30 {
		n[pick()]++
	}
	if n["web5"] < 1 || n["web5"] > 4 {
		t.Errorf("with room again it has %d turns of 30, want 2", n["web5"])
	}
}

// TestWhoIsAvoidedHasItsTurns: where nobody is preferred to anybody, since all are to be
// avoided, each has its turn, and where one is not, that one.
func TestWhoIsAvoidedHasItsTurns(t *testing.T) {
	for _, n := range []int{2, 3} {
		s := newSet(t, Limits{}, new(RoundRobin), specs(n, func(int) int { return 1 })...)
		now := time.Now()
		all := s.Whole.Current(now).All
		turns := func(want ...int) {
			t.Helper()
			got := make([]int, n)
			for range 12 {
				got[slices.Index(all, s.Whole.Choose(new(Ask), now, false).Entry)]++
			}
			if !slices.Equal(got, want[:n]) {
				t.Errorf("of %d: turns %v, want %v", n, got, want[:n])
			}
		}
		s.Avoid(all[0], now.Add(time.Second))
		turns(map[int][]int{2: {0, 12}, 3: {0, 6, 6}}[n]...)
		for _, e := range all {
			s.Avoid(e, now.Add(time.Second))
		}
		turns(map[int][]int{2: {6, 6}, 3: {4, 4, 4}}[n]...)
	}
}

// TestWhatIsToldIsPicked: a pick that is only told is the one that comes next, whoever
// is full or to be avoided, and what is said of a pick by a client's key is that.
func TestWhatIsToldIsPicked(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for play := range 100 {
		s := newSet(t, Limits{InFlight: 1}, new(RoundRobin), specs(3+r.IntN(8), func(int) int { return 1 + r.IntN(5) })...)
		now := time.Now()
		for _, e := range s.Whole.Current(now).All {
			switch r.IntN(4) {
			case 0:
				_, _ = s.Whole.Take(&Ask{Pin: e.Name}, new(Place), now) // all but the last may be full
			case 1:
				s.Avoid(e, now.Add(time.Minute))
			}
		}
		for range 40 {
			ask := Ask{Bind: uint64(r.IntN(2)) * r.Uint64()}
			peeked, asked := ask, ask
			told, done := s.Whole.Choose(&peeked, now, true), s.Whole.Choose(&asked, now, false)
			if told.Err != done.Err || told.Entry != done.Entry {
				t.Fatalf("play %d: told %v (%s), done %v (%s)", play, told.Entry, told.Because(), done.Entry, done.Because())
			}
			if why := done.Because(); ask.Bind != 0 && done.Err == nil && why != "by the client's key" && why != "the only one that may serve" {
				t.Fatalf("play %d: it is picked by the client's key, and said is %q", play, why)
			}
		}
	}
}

// TestTurnsOfViewsAreTheirOwn: an excerpt's picks leave those of the whole as they are.
func TestTurnsOfViewsAreTheirOwn(t *testing.T) {
	s := newSet(t, Limits{}, new(RoundRobin), specs(4, func(int) int { return 1 })...)
	part := s.Whole.Only([]Filter{func(e *Entry, _ time.Time, _ bool) bool { return e.Name != "web1" }})
	now := time.Now()
	var got []string
	for range 4 {
		got = append(got, s.Whole.Choose(new(Ask), now, false).Entry.Name)
		part.Choose(new(Ask), now, false)
	}
	if want := []string{"web0", "web1", "web2", "web3"}; !slices.Equal(got, want) {
		t.Errorf("turns %q, want %q", got, want)
	}
}

// TestHashOfManyIsThatOfEach: the quick look finds whom the look at each finds, with
// and without a bound.
func TestHashOfManyIsThatOfEach(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for play := range 300 {
		s := newSet(t, Limits{}, First{}, specs(2+r.IntN(30), func(int) int { return 1 + r.IntN(1+play%5) })...)
		now := time.Now()
		c := all(s, now)
		for _, e := range c.List {
			for range r.IntN(1 + play%4) {
				if _, err := s.Whole.Take(&Ask{Pin: e.Name}, new(Place), now); err != nil {
					t.Fatal(err)
				}
			}
		}
		each := c
		each.Snap = nil
		for range 100 {
			key := r.Uint64()
			for _, bound := range []float64{-1, 1.25} {
				c.Snap.weighing.requests.due.Store(0) // what is in hand is counted now
				quick, slow := rendezvous(key, c, bound), rendezvous(key, each, bound)
				if quick != slow {
					t.Fatalf("play %d, bound %v: %s, want %s", play, bound, c.List[quick].Name, c.List[slow].Name)
				}
			}
		}
	}
}

// TestWeightsAreLookedAtAgain: who starts slowly has its turns as they grow.
func TestWeightsAreLookedAtAgain(t *testing.T) {
	list := specs(2, func(int) int { return 10 })
	s := newSet(t, Limits{}, new(RoundRobin), list[0])
	if err := s.Update(list); err != nil { // the second starts slowly
		t.Fatal(err)
	}
	now := time.Unix(0, s.Whole.Snap.Load().ByName("web1").risen.Load())
	for _, at := range []struct {
		after time.Duration
		want  int // of 100
	}{{0, 9}, {15 * time.Second, 33}, {time.Minute, 50}} {
		n := 0
		for range 100 {
			if s.Whole.Choose(new(Ask), now.Add(at.after), false).Entry.Name == "web1" {
				n++
			}
		}
		if n < at.want-2 || n > at.want+2 {
			t.Errorf("after %v it has %d turns of 100, want %d", at.after, n, at.want)
		}
	}
	s.Refresh(now) // who serves is weighed anew
	c := all(s, now.Add(10*time.Second))
	before := c.weights()
	for after, same := range map[time.Duration]bool{weighEvery - 1: true, weighEvery: false} {
		later := c
		later.Now = c.Now.Add(after)
		c.Snap.weighing.latest.Store(before)
		before.at.Store(c.Now.UnixNano())
		if got := later.weights() == before; got != same {
			t.Errorf("%v later the weights are the same: %t, want %t", after, got, same)
		}
	}
}

// BenchmarkChoose is a pick, with and without limits of what is in hand, which is half
// of them.
func BenchmarkChoose(b *testing.B) {
	for _, p := range []struct {
		name string
		Policy
	}{{"adaptive", Adaptive{}}, {"least", LeastInFlight{}}, {"turns", new(RoundRobin)}, {"hash", Hash{Bound: 1.25}}} {
		for _, limit := range []int{0, 2} {
			for _, n := range []int{2, 10, 100, 1000} {
				b.Run(fmt.Sprintf("%s/limit%d/%d", p.name, limit, n), func(b *testing.B) {
					s := newSet(b, Limits{InFlight: limit}, p.Policy, specs(n, func(int) int { return 1 })...)
					now := time.Now()
					for i := range n / 2 {
						if _, err := s.Whole.Take(&Ask{Pin: fmt.Sprint("web", 2*i)}, new(Place), now); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportAllocs()
					for b.Loop() {
						s.Whole.Choose(&Ask{Key: rand.Uint64()}, now, false)
					}
				})
			}
		}
	}
}
