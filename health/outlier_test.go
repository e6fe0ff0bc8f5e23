package health

import (
	"testing"
	"time"
)

func TestOutlierDefaults(t *testing.T) {
	want := Outlier{Consecutive: 5, MinSuccess: 0.5, Window: 10 * time.Second, MinSamples: 20, Base: 5 * time.Second, Max: time.Minute, MaxEjected: 0.5}
	if got := (Outlier{}).WithDefaults(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestScheduleDefaults(t *testing.T) {
	want := Schedule{Every: 5 * time.Second, Changing: time.Second, Timeout: 2 * time.Second, Rise: 2, Fall: 3}
	if got := (Schedule{}).WithDefaults(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if (Schedule{Rise: -1}).Validate() == nil {
		t.Error("a negative Rise is taken")
	}
}

func TestOutlierPeriod(t *testing.T) {
	o := Outlier{}.WithDefaults()
	for n, want := range []time.Duration{5, 10, 20, 40, 60, 60} {
		if got := o.Period(n, 0.5); got != want*time.Second {
			t.Errorf("time %d: got %v, want %vs", n, got, int(want))
		}
	}
	if lo, hi := o.Period(0, 0), o.Period(0, 1); lo != 4*time.Second || hi != 6*time.Second {
		t.Errorf("jitter: got %v to %v, want 4s to 6s", lo, hi)
	}
}

func TestMayEject(t *testing.T) {
	o := Outlier{}.WithDefaults()
	for total, most := range []int{0, 0, 1, 1, 2, 2, 3} {
		n := 0
		for o.MayEject(n, total) {
			n++
		}
		if n != most {
			t.Errorf("of %d backends %d may be out, want %d", total, n, most)
		}
	}
}
