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
