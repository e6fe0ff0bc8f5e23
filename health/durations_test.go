package health

import (
	"encoding/json"
	"testing"
	"time"
)

func TestDistribution(t *testing.T) {
	var d Durations
	for _, took := range []time.Duration{-time.Second, 0, 500 * time.Microsecond, 501 * time.Microsecond, time.Second, time.Minute} {
		d.Add(took)
	}
	m := Distribution("wait_seconds", "Wait.", &d)
	if m.Kind != Histogram || m.Unit != "seconds" || m.Count != 6 || d.Count() != 6 || m.Value != 61.001001 {
		t.Errorf("%+v", m)
	}
	for le, want := range map[float64]uint64{0.0005: 3, 0.001: 4, 0.5: 4, 1: 5, 30: 5} {
		found := false
		for _, b := range m.Buckets {
			if b.Le == le {
				found = true
				if b.Count != want {
					t.Errorf("up to %v: %d, want %d", le, b.Count, want)
				}
			}
		}
		if !found {
			t.Errorf("no bucket up to %v", le)
		}
	}
	if _, err := json.Marshal(m); err != nil {
		t.Error(err)
	}
}

func BenchmarkDurations(b *testing.B) {
	var d Durations
	for b.Loop() {
		d.Add(3 * time.Millisecond)
	}
}
