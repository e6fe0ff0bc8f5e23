package election

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/health"
)

// An assembly is some backends and their throne, told what they say one a
// second: "a=P" says that a answers as primary, "a=P3" so in epoch 3, "a=R" as
// replica, "a=G" as peer, "a=g" as one to be used last, "a=?" without a role, "a=-" that it does not answer,
// "a=~" as a=P, and that its process has begun anew since it answered last,
// "a=!" that it turns its probe away, "." that all who answer are asked once
// more.
type assembly struct {
	throne Throne
	claims []Claim
	now    time.Time
}

func (a *assembly) say(word string) {
	a.now = a.now.Add(time.Second)
	if word == "." {
		for i := range a.claims {
			if c := &a.claims[i]; c.Known && !c.Away && !c.Mute {
				c.Asked = a.now
			}
		}
		a.elect()
		return
	}
	name, says, _ := strings.Cut(word, "=")
	c := &a.claims[slices.IndexFunc(a.claims, func(c Claim) bool { return c.Name == name })]
	if says == "!" {
		c.Mute = true
		a.elect()
		return
	}
	if says == "-" {
		c.Miss(a.now)
		a.elect()
		return
	}
	res := health.Result{Started: time.Unix(1, 0)}
	if !c.Started.IsZero() {
		res.Started = c.Started
	}
	if says == "~" { // it has restarted since it answered last
		res.Started, says = a.now, "P"
	}
	res.Role = map[byte]string{'P': health.RolePrimary, 'R': health.RoleReplica, 'G': health.RolePeer, 'g': health.RolePeer}[says[0]]
	res.LastResort = says[0] == 'g'
	res.Epoch, _ = strconv.ParseUint(says[1:], 10, 64) // none is 0
	c.Answer(a.now, res)
	a.elect()
}

func (a *assembly) elect() {
	a.throne = a.throne.Elect(a.claims)
	for i := range a.claims {
		if a.throne.Seated && a.claims[i].Name == a.throne.Primary {
			a.claims[i].Left = time.Time{}
		}
	}
}

// String is the primary, in brackets while it is not confirmed, and after ! who
// is fenced.
func (a *assembly) String() string {
	s := a.throne.Primary
	if !a.throne.Seated {
		s = "(" + s + ")"
	}
	for _, name := range slices.Sorted(maps.Keys(a.throne.Fenced)) {
		s += "!" + name
	}
	return s
}

func TestElection(t *testing.T) {
	cases := []struct {
		name   string
		memory Throne
		steps  string // "what is said -> what comes of it"
	}{
		{"the only primary, once all have spoken", Throne{}, "a=P->() b=R->() c=R->a"},
		{"or are known not to", Throne{}, "a=P->() b=-->() c=R->a"},
		{"two at a start without memory", Throne{}, "a=P->() b=P->() c=R->() .->()"},
		{"until one gives up", Throne{}, "a=P->() b=P->() c=R->() a=R->b"},
		{"two at a start with memory", Throne{Primary: "b"}, "a=P->(b) b=P->b!a c=R->b!a"},
		{"memory of one who is gone", Throne{Primary: "b"}, "a=P->(b) c=R->(b) b=-->a"},
		{"memory of a fence", Throne{Primary: "b", Fenced: map[string]string{"a": "old"}}, "a=P->(b)!a c=R->(b)!a b=-->(b)!a a=R->(b) a=P->(b) .->a"},
		{"a newcomer beside the incumbent", Throne{}, "a=P->() b=R->() c=R->a b=P->a!b"},
		{"is fenced until it gives up", Throne{}, "a=P->() b=R->() c=R->a b=P->a!b b=-->a!b b=P->a!b b=R->a"},
		{"and does not follow the incumbent", Throne{}, "a=P->() b=R->() c=R->a b=P->a!b .->a!b a=-->(a)!b .->(a)!b b=R->(a) b=P->(a) .->b"},
		{"failover", Throne{}, "a=P->() b=R->() c=R->a a=-->(a) b=P->(a) .->b"},
		{"the old one comes back", Throne{}, "a=P->() b=R->() c=R->a a=-->(a) b=P->(a) .->b a=P->b!a"},
		{"before the new one is confirmed", Throne{}, "a=P->() b=R->() c=R->a a=-->(a) b=P->(a) a=P->(a)!a .->b!a"},
		{"and before it is known at all", Throne{}, "a=P->() b=R->() c=R->a a=-->(a) a=P->(a) b=P->(a)!a .->b!a"},
		{"the incumbent was away and nobody was promoted", Throne{}, "a=P->() b=R->() c=R->a a=-->(a) a=P->(a) b=R->(a) c=R->a"},
		{"restarted unseen", Throne{}, "a=P->() b=R->() c=R->a .->a a=~->(a) .->a"},
		{"restarted unseen and another promoted", Throne{}, "a=P->() b=R->() c=R->a .->a b=P->a!b a=~->(a)!a .->b!a"},
		{"restarted unseen after another was fenced", Throne{}, "a=P->() b=R->() c=R->a b=P->a!b a=P->a!b a=~->(a)!b .->a!b"},
		{"a fenced one that flaps while the incumbent is away", Throne{}, "a=P->() b=R->() c=R->a b=P->a!b .->a!b a=-->(a)!b b=-->(a)!b b=P->(a)!b .->(a)!b"},
		{"two promoted at once", Throne{}, "a=P->() b=R->() c=R->a a=-->(a) b=P->(a) c=P->(a) .->(a)"},
		{"switch by hand", Throne{}, "a=P->() b=R->() c=R->a a=R->(a) b=P->(a) .->b"},
		{"switch by hand, the other way round", Throne{}, "a=P->() b=R->() c=R->a b=P->a!b .->a!b a=R->(a)!b b=R->(a) b=P->(a) .->b"},
		{"switch by hand, the new one seen first", Throne{}, "a=P->() b=R->() c=R->a b=P->a!b a=R->(a) .->b"},
		{"failover, the new one seen first", Throne{}, "a=P->() b=R->() c=R->a b=P->a!b a=-->(a) .->b a=P->b!a"},
		{"the one before, back when the one after has gone", Throne{}, "a=P->() b=R->() c=R->a a=-->(a) b=P->(a) .->b b=-->(b) a=P->(b)!a .->(b)!a b=P->(b)!a .->b!a"},
		{"until it follows", Throne{}, "a=P->() b=R->() c=R->a a=-->(a) b=P->(a) .->b a=R->b b=-->(b) a=P->(b) .->a"},
		{"or has a higher epoch", Throne{}, "a=P1->() b=R1->() c=R1->a a=-->(a) b=P1->(a) .->b b=-->(b) a=P2->(b) .->a"},
		{"the one before, of memory", Throne{Primary: "b", Deposed: map[string]bool{"a": true}}, "a=P->(b)!a c=R->(b)!a b=-->(b)!a a=R->(b) a=P->(b) .->a"},
		{"the one before the one before", Throne{}, "a=P->() b=R->() c=R->a a=-->(a) b=P->(a) .->b b=-->(b) c=P->c c=-->(c) a=P->(c)!a b=P->(c)!a!b"},
		{"an answer without a role gives nothing up", Throne{}, "a=P->() b=R->() c=R->a b=P->a!b .->a!b b=?->a!b a=-->(a)!b b=P->(a)!b .->(a)!b"},
		{"the incumbent loads, and another was promoted", Throne{}, "a=P->() b=R->() c=R->a a=?->(a) b=P->(a) .->b a=P->b!a"},
		{"the incumbent turns the probe away", Throne{}, "a=P->() b=R->() c=R->a a=!->a .->a a=P->a"},
		{"and another claims to be primary", Throne{}, "a=P->() b=R->() c=R->a a=!->a b=P->a!b .->a!b"},
		{"which was promoted in its place", Throne{}, "a=P->() b=R->() c=R->a a=!->a b=P->a!b a=R->(a) .->b"},
		{"in an epoch of its own", Throne{}, "a=P1->() b=R1->() c=R1->a a=!->a b=P2->(a)!a .->b!a"},
		{"a failover does not wait for one who does", Throne{}, "a=P->() b=R->() c=R->a c=!->a a=-->(a) b=P->b"},
		{"nor is one who was away primary by it", Throne{}, "a=P->() b=R->() c=R->a a=-->(a) a=!->(a) b=P->(a) .->b"},
		{"a higher epoch wins", Throne{}, "a=P1->() b=R1->() c=R1->a b=P2->(a)!a .->b!a"},
		{"a lower epoch loses", Throne{}, "a=P2->() b=R->() c=R->a b=P1->a!b"},
		{"even alone", Throne{Primary: "a", Epoch: 2}, "b=P1->(a)!b c=R->(a)!b a=-->(a)!b"},
		{"an epoch lifts a fence", Throne{}, "a=P1->() b=R->() c=R->a b=P1->a!b b=P2->(a)!a .->b!a"},
		{"an epoch that falls", Throne{}, "a=P2->() b=R->() c=R->a a=P1->(a)!a"},
		{"peers: the first", Throne{}, "a=G->() b=G->() c=G->a"},
		{"peers: the incumbent stays", Throne{Primary: "c"}, "a=G->(c) b=G->(c) c=G->c a=-->c a=G->c"},
		{"peers: one who asks to be used last", Throne{}, "a=g->() b=G->() c=G->() .->b"},
		{"peers: the next, if the incumbent asks so", Throne{}, "a=G->() b=G->() c=G->a a=g->b a=G->b"},
		{"peers: the incumbent, if all do", Throne{}, "a=G->() b=-->() c=-->a a=g->a b=g->a b=G->(a) .->b"},
		{"peers: the next", Throne{}, "a=G->() b=G->() c=G->a a=-->b a=G->b"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := &assembly{throne: c.memory, claims: []Claim{{Name: "a"}, {Name: "b"}, {Name: "c"}}, now: time.Unix(0, 0)}
			var got []string
			for step := range strings.FieldsSeq(c.steps) {
				say, _, _ := strings.Cut(step, "->")
				a.say(say)
				got = append(got, say+"->"+a.String())
			}
			if got := strings.Join(got, " "); got != c.steps {
				t.Errorf("\n got %s\nwant %s", got, c.steps)
			}
		})
	}
}

// TestElectionNeverTwo plays every sequence of six events on two backends and
// holds that no election leaves a fenced backend on the throne, or one that
// claims nothing.
func TestElectionNeverTwo(t *testing.T) {
	events := strings.Fields("a=P a=R a=- b=P b=R b=- .")
	var play func(a assembly, path string, depth int)
	play = func(a assembly, path string, depth int) {
		if depth == 0 {
			return
		}
		for _, ev := range events {
			next := assembly{throne: a.throne, claims: slices.Clone(a.claims), now: a.now}
			next.say(ev)
			th := next.throne
			if th.Seated {
				c := next.claims[slices.IndexFunc(next.claims, func(c Claim) bool { return c.Name == th.Primary })]
				if !c.Claims() || th.Fenced[c.Name] != "" {
					t.Fatalf("%s %s: %v", path, ev, &next)
				}
			}
			primaries := 0
			for _, c := range next.claims {
				if r := th.Rank(c); r.Primary && r.Barred == "" {
					primaries++
				} else if c.Claims() && r.Barred == "" {
					t.Fatalf("%s %s: %s may be written to", path, ev, c.Name)
				}
			}
			if primaries > 1 {
				t.Fatalf("%s %s: two primaries", path, ev)
			}
			play(next, path+" "+ev, depth-1)
		}
	}
	play(assembly{claims: []Claim{{Name: "a"}, {Name: "b"}}, now: time.Unix(0, 0)}, "", 6)
}

// TestRestartIsNotDrift holds that a claim is doubted when its server began
// anew, and not because its clock is another.
func TestRestartIsNotDrift(t *testing.T) {
	now := time.Unix(1e9, 0)
	began := now.Add(-time.Hour)
	c := Claim{Name: "a"}
	told := func(started time.Time) bool {
		now = now.Add(time.Second)
		c.Left = time.Time{}
		c.Answer(now, health.Result{Role: health.RolePrimary, Started: started})
		return !c.Left.IsZero()
	}
	for i := range 100 {
		jitter := time.Duration(i%2) * 1500 * time.Millisecond
		if told(began.Add(time.Duration(i)*100*time.Millisecond + jitter)) {
			t.Fatalf("after %d answers it has restarted", i)
		}
	}
	if told(time.Time{}) {
		t.Error("an answer without it is a restart")
	}
	if !told(began.Add(15 * time.Second)) {
		t.Error("a restart is none")
	}
}

// TestInstanceBeforeClock holds that where a process has a name of its own, a
// clock that is set says nothing.
func TestInstanceBeforeClock(t *testing.T) {
	now := time.Unix(1e9, 0)
	c := Claim{Name: "a"}
	told := func(instance string, started time.Time) bool {
		now = now.Add(time.Second)
		c.Left = time.Time{}
		c.Answer(now, health.Result{Role: health.RolePrimary, Started: started, Instance: instance})
		return !c.Left.IsZero()
	}
	began := now.Add(-time.Hour)
	told("one", began)
	if told("one", began.Add(5*time.Second)) {
		t.Error("its clock set back is a restart")
	}
	if told("", began.Add(5*time.Second)) {
		t.Error("an answer without its name is a restart")
	}
	if !told("two", began.Add(5*time.Second)) {
		t.Error("another process is none")
	}
}

func TestMemory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "primary")
	if got, err := Recall(file); err != nil || got.Primary != "" {
		t.Errorf("of no file: %v, %v", got, err)
	}
	want := Throne{Primary: "db1", Epoch: 7, Fenced: map[string]string{"db2": "was away"}}
	for range 2 {
		if err := want.Remember(file); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Recall(file)
	if err != nil || !got.Equal(want) {
		t.Errorf("got %+v, %v", got, err)
	}
	left, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := os.WriteFile(file, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Recall(file); err == nil || !strings.Contains(err.Error(), "Roles.Memory") {
		t.Errorf("a file of garbage: %v", err)
	}
	if err := want.Remember(filepath.Join(t.TempDir(), "none", "primary")); err == nil {
		t.Error("a folder that does not exist is written to")
	}
}
