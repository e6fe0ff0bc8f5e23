package http2_test

import (
	"testing"
	"time"

	"github.com/foretier/foretier/internal/http2"
)

func TestAccount(t *testing.T) {
	now := time.Unix(1e9, 0)
	var a http2.Account
	resets := 0
	for a.Spend(http2.CostReset, now) {
		resets++
	}
	if resets != 500 {
		t.Errorf("%d resets at once, want 500", resets)
	}
	for range 10 { // and 40 a second from then on
		now = now.Add(time.Second)
		n := 0
		for a.Spend(http2.CostReset, now) {
			n++
		}
		if n < 38 || n > 41 {
			t.Errorf("%d resets in a second, want some 40", n)
		}
	}
	var slow http2.Account // as of who looks at the beginnings of pages all day
	for range 100_000 {
		if now = now.Add(time.Second / 30); !slow.Spend(http2.CostReset, now) {
			t.Fatal("30 resets a second are too much")
		}
	}
	var b http2.Account
	for range 1_000_000 { // what is of use is never too much
		b.Earn(http2.EarnData)
		for range 2 {
			if !b.Spend(http2.CostWindow, now) {
				t.Fatal("windows that open for what was sent are too much")
			}
		}
	}
}

func TestWindow(t *testing.T) {
	w := http2.Window(10)
	if got := w.Take(4); got != 4 || w != 6 {
		t.Error(got, w)
	}
	if got := w.Take(40); got != 6 || w != 0 {
		t.Error(got, w)
	}
	if !w.Add(-5) || w.Take(1) != 0 || w != -5 {
		t.Error("a negative window", w)
	}
	w = 1<<31 - 1
	if w.Add(1) || w != 1<<31-1 {
		t.Error("beyond all bounds", w)
	}
	in := http2.NewIntake(100)
	if in.Take(101) || !in.Take(100) || in.Take(1) {
		t.Error("more than the window")
	}
	if in.Used(49) != 0 || in.Used(1) != 50 || !in.Take(50) || in.Take(1) || in.Used(50) != 50 {
		t.Errorf("%+v", in)
	}
}

func TestPriority(t *testing.T) {
	for field, want := range map[string]http2.Priority{
		"":               {Urgency: 3},
		"u=0":            {Urgency: 0},
		"u=5, i":         {Urgency: 5, Incremental: true},
		"i,u=1":          {Urgency: 1, Incremental: true},
		"u=9, i=?0":      {Urgency: 3},
		"i=?1;a=b, x=y":  {Urgency: 3, Incremental: true},
		"u=7;a, i;b":     {Urgency: 7, Incremental: true},
		"u=-1,,,=,i=abc": {Urgency: 3},
	} {
		if got := http2.ParsePriority(field); got != want {
			t.Errorf("%q: %+v, want %+v", field, got, want)
		}
	}
}
