package browsertest

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/tracing"
	"github.com/chromedp/chromedp"
)

// A Task is what Chromium's trace says of one on a page's main thread.
type Task struct {
	Took time.Duration // by the clock
	Used time.Duration // of a processor
	At   time.Duration // since the first
}

// Trace has Chromium trace while do runs, and returns the tasks of the page's main
// thread, the longest first.
func (b *Browser) Trace(do func()) (tasks []Task) {
	b.t.Helper()
	type event struct {
		Name, Ph string
		PID, TID int
		TS       float64 // in µs, as the others
		Dur      float64
		TDur     float64
		Args     struct{ Name string }
	}
	var mu sync.Mutex
	var events []event
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(b)
	defer cancel()
	err := chromedp.Listen(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *tracing.EventDataCollected:
			mu.Lock()
			defer mu.Unlock()
			for _, v := range ev.Value {
				var e event
				if json.Unmarshal(v, &e) == nil {
					events = append(events, e)
				}
			}
		case *tracing.EventTracingComplete:
			close(done)
		}
	})
	if err == nil {
		_, err = chromedp.Call(ctx, tracing.Start, tracing.StartParams{TraceConfig: &tracing.TraceConfig{IncludedCategories: []string{"toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline", "__metadata"}}})
	}
	if err != nil {
		b.t.Fatal(err)
	}
	do()
	if _, err := chromedp.Call(ctx, tracing.End, cdp.Empty{}); err != nil {
		b.t.Fatal(err)
	}
	<-done
	mu.Lock()
	defer mu.Unlock()
	// The page's process is the one whose main thread has handled its events.
	type thread struct{ pid, tid int }
	main, ours := make(map[thread]bool), make(map[int]int)
	for _, e := range events {
		switch {
		case e.Name == "thread_name" && e.Args.Name == "CrRendererMain":
			main[thread{e.PID, e.TID}] = true
		case e.Name == "FunctionCall" || e.Name == "TimerFire":
			ours[e.PID]++
		}
	}
	page := 0
	for pid, n := range ours {
		if n > ours[page] {
			page = pid
		}
	}
	first := 0.0
	for _, e := range events {
		if !main[thread{e.PID, e.TID}] || e.PID != page || e.Ph != "X" || e.Name != "RunTask" && e.Name != "ThreadControllerImpl::RunTask" {
			continue
		}
		if first == 0 {
			first = e.TS
		}
		us := func(v float64) time.Duration { return time.Duration(v * float64(time.Microsecond)) }
		tasks = append(tasks, Task{us(e.Dur), us(e.TDur), us(e.TS - first)})
	}
	slices.SortFunc(tasks, func(a, b Task) int { return cmp.Compare(b.Took, a.Took) })
	return tasks
}
