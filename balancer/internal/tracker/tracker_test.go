package tracker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/health"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

var errRefused = errors.New("refused")

// play runs one letter a second: probes g(ood), b(ad status), r(efused), t(urned
// away), and
// requests A(nswered), E(rred), F(ailed), R(efused); . waits. It returns the
// first letter of the state after each step, upper case while on trial.
func play(tr *Tracker, steps string) string {
	got := ""
	now := epoch
	for _, s := range steps {
		now = now.Add(time.Second)
		observe := func(o Outcome) {
			if eject, _ := tr.Observe(now, o); eject {
				tr.Eject(now, 0.5)
			}
		}
		switch s {
		case 'g':
			tr.Probed(now, health.Result{State: health.Up}, nil)
		case 'b':
			tr.Probed(now, health.Result{State: health.Degraded, Note: "503"}, nil)
		case 'r':
			tr.Probed(now, health.Result{}, errRefused)
		case 't':
			tr.Probed(now, health.Result{}, fmt.Errorf("401: %w", health.ErrTurnedAway))
		case 'A':
			observe(Answered)
		case 'E':
			observe(Erred)
		case 'F':
			observe(Failed)
		case 'R':
			observe(Refused)
		}
		v := tr.Health(now)
		letter := v.State.String()[:1]
		switch {
		case v.Trial:
			letter = "T"
		case v.State == health.Degraded:
			letter = "s" // sick
		case v.State == health.Unknown:
			letter = "?"
		}
		got += letter
	}
	return got
}

func TestTracker(t *testing.T) {
	cases := []struct {
		name   string
		probed bool
		steps  string
		want   string
	}{
		{"the first good probe is enough", true, "g", "u"},
		{"three bad probes until down", true, "gbbb", "uuud"},
		{"the opposite resets the streak", true, "gbbgbbgb", "uuuuuuuu"},
		{"two good probes until up", true, "gbbbggb", "uuudduu"},
		{"one good probe among bad does not raise", true, "gbbbgbg", "uuudddd"},
		{"a probe that never succeeded judges nobody", true, "bbbbbA", "??????"},
		{"unless nobody is there", true, "rrr", "??d"},
		{"and then it rises by two", true, "rrrgg", "??ddu"},
		{"turned away", true, "gtttttg", "uuussss"},
		{"until two are good", true, "gtttgg", "uuussu"},
		{"which is no death, nor is one before it", true, "grrtrrtrrt", "uuuuuuuuus"},
		{"who turns the probe away is not dead", true, "grrrt", "uuuds"},
		{"and may yet die", true, "gtttrrr", "uuusssd"},
		{"turned away from the start", true, "tttttA", "??????"},
		{"without probes an answer is enough", false, "A", "u"},
		{"five failures in a row", false, "AFFFFF", "uuuuus"},
		{"an answer between resets", false, "AFFFFAFFFF", "uuuuuuuuuu"},
		{"500 does not count as failure in a row", false, "AEEEEEEE", "uuuuuuuu"},
		{"nor does it reset", false, "AFFEFFF", "uuuuuus"},
		{"two refusals", false, "ARR", "uud"},
		{"back after five seconds, on trial", false, "ARR.....", "uudddddT"},
		{"proven by one answer", false, "ARR.....A", "uudddddTu"},
		{"a failure on trial ejects at once, twice as long", false, "ARR.....F..........", "uudddddTssssssssssT"},
		{"an answer ends a hard ejection", false, "ARRA", "uudu"},
		{"but not a soft one", false, "AFFFFFA", "uuuuuss"},
		{"good probes end a hard ejection", true, "gRRgg", "uuddu"},
		{"but not a soft one ", true, "gFFFFFgg", "uuuuusss"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := play(New(health.Schedule{}, health.Outlier{}, c.probed), c.steps)
			if got != c.want {
				t.Errorf("%s\n got %s\nwant %s", c.steps, got, c.want)
			}
		})
	}
}

func TestTrackerEjectsByShareOfSuccess(t *testing.T) {
	tr := New(health.Schedule{}, health.Outlier{}, false)
	now := epoch
	for i := range 19 {
		o := Answered
		if i%2 == 0 {
			o = Erred
		}
		if eject, _ := tr.Observe(now, o); eject {
			t.Fatalf("ejected after %d samples, before there are 20", i+1)
		}
	}
	if eject, _ := tr.Observe(now, Erred); !eject {
		t.Error("11 errors among 20 requests do not eject")
	}
	// However good the seconds before were, the latest decide.
	busy := New(health.Schedule{}, health.Outlier{}, false)
	for range 5000 {
		busy.Observe(now, Answered)
	}
	later := now.Add(time.Second)
	bad := 0
	for eject := false; !eject; bad++ {
		eject, _ = busy.Observe(later, Erred)
	}
	if bad != 20 {
		t.Errorf("after a good time it took %d errors, want 20", bad)
	}
	// After the window they are forgotten.
	if eject, _ := tr.Observe(now.Add(11*time.Second), Erred); eject {
		t.Error("ejected by errors older than the window")
	}
}

func TestTrackerForgetsEjectionsAfterAGoodTime(t *testing.T) {
	tr := New(health.Schedule{}, health.Outlier{}, false)
	now := epoch
	out := func() time.Duration {
		tr.Observe(now, Answered)
		tr.Observe(now, Refused)
		tr.Observe(now, Refused)
		tr.Eject(now, 0.5)
		return tr.Health(now).Until.Sub(now)
	}
	first := out()
	now = now.Add(6 * time.Second)
	tr.Health(now)
	second := out()
	now = now.Add(11 * time.Second)
	tr.Health(now)
	tr.Observe(now, Answered)
	now = now.Add(2 * time.Minute)
	third := out()
	if first != 5*time.Second || second != 10*time.Second || third != 5*time.Second {
		t.Errorf("out for %v, %v and, after two good minutes, %v; want 5s, 10s, 5s", first, second, third)
	}
}

func TestPeriod(t *testing.T) {
	o := health.Outlier{}.WithDefaults()
	for n, want := range []time.Duration{5, 10, 20, 40, 60, 60} {
		if got := period(o, n, 0.5); got != want*time.Second {
			t.Errorf("time %d: got %v, want %vs", n, got, int(want))
		}
	}
	if lo, hi := period(o, 0, 0), period(o, 0, 1); lo != 4*time.Second || hi != 6*time.Second {
		t.Errorf("jitter: got %v to %v, want 4s to 6s", lo, hi)
	}
}

func TestMayEject(t *testing.T) {
	o := health.Outlier{}.WithDefaults()
	for total, most := range []int{0, 0, 1, 1, 2, 2, 3} {
		n := 0
		for MayEject(o, n, total) {
			n++
		}
		if n != most {
			t.Errorf("of %d backends %d may be out, want %d", total, n, most)
		}
	}
}

func TestUsable(t *testing.T) {
	letter := map[rune]Health{
		'u': {State: health.Up},
		'?': {State: health.Unknown, Await: true},
		'p': {State: health.Unknown}, // passive
		's': {State: health.Degraded},
		'd': {State: health.Down},
		'l': {State: health.Degraded, Last: true},
		'h': {State: health.Down, Hard: true},
	}
	cases := []struct{ verdicts, want string }{
		{"", ""},
		{"uuu", "uuu"},
		{"uus", "uu"},
		{"us", "u"},
		{"uss", "uss"}, // that many cannot all be ill by themselves
		{"uhhs", "us"}, // the refusing are left out of the panic
		{"u?", "u"},
		{"u??", "u??"},
		{"??", "??"},
		{"?s", "?s"},
		{"pp", "pp"},
		{"udd", "u"}, // their probes say no
		{"dhh", "d"},
		{"hh", "hh"},
		{"sh", "s"},
		{"?d", "?"},
		{"ul", "u"},
		{"ull", "u"}, // they do not ask for help
		{"ulls", "u"},
		{"ull?s", "u?s"},
		{"sl", "sl"}, // who is well and reluctant beside who is ill
		{"ll", "ll"},
		{"ldh", "l"},
	}
	for _, c := range cases {
		var vs []Health
		for _, l := range c.verdicts {
			vs = append(vs, letter[l])
		}
		var got strings.Builder
		for _, i := range Usable(nil, vs) {
			got.WriteByte(c.verdicts[i])
		}
		if got.String() != c.want {
			t.Errorf("of %q: got %q, want %q", c.verdicts, got.String(), c.want)
		}
	}
	if got := Usable([]int{7}, []Health{{State: health.Up}}); !slices.Equal(got, []int{7, 0}) {
		t.Errorf("does not append: %v", got)
	}
}
