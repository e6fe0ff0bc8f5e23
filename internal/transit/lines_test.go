package transit

import (
	"testing"
	"time"
)

func TestLines(t *testing.T) {
	now := time.Unix(1e9, 0)
	l := Lines{Burst: 3}
	written, last := 0, 0
	many := func(n int) {
		for range n {
			if others, ok := l.Allow(now); ok {
				written++
				last = others
			}
		}
	}
	want := func(lines, others int) {
		t.Helper()
		if written != lines || last != others {
			t.Errorf("%d lines, the latest with %d others; want %d, %d", written, last, lines, others)
		}
		written, last = 0, 0
	}
	many(100)
	want(3, 0)
	now = now.Add(time.Second)
	many(50)
	want(1, 97)
	now = now.Add(time.Second)
	many(1)
	want(1, 49)
	now = now.Add(time.Hour)
	many(100)
	want(3, 0)
	l = Lines{}
	many(2)
	want(1, 0)
}
