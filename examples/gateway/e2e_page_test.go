//go:build e2e

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/tracing"
	"github.com/chromedp/chromedp"

	"github.com/foretier/foretier/internal/servertest"
)

const (
	longestTask = 50 * time.Millisecond // of the page's, so that it answers whoever types
	pageShare   = 0.01                  // of a processor, that an open page may take of the gateway
)

// A task is what Chromium's trace says of one on a page's main thread.
type task struct {
	took time.Duration // by the clock
	used time.Duration // of a processor
	at   time.Duration
}

// trace has Chromium trace while do runs, and returns the tasks of the page's main
// thread.
func (b *browser) trace(do func()) (tasks []task) {
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
		tasks = append(tasks, task{us(e.Dur), us(e.TDur), us(e.TS - first)})
	}
	slices.SortFunc(tasks, func(a, b task) int { return cmp.Compare(b.took, a.took) })
	return tasks
}

// TestE2EPageOfManyBackends: with 200 backends under load no task of the page takes longer
// than 50 ms, the first that builds it neither, and it costs the gateway a hundredth of a
// processor: by /proc, with the page open and closed in turns.
func TestE2EPageOfManyBackends(t *testing.T) {
	var urls, names []string
	backend := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	for range 200 {
		srv := httptest.NewServer(backend)
		t.Cleanup(srv.Close)
		urls, names = append(urls, srv.URL), append(names, srv.Listener.Addr().String())
	}
	port, statusPort := servertest.FreePort(t), servertest.FreePort(t)
	addr, at := fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", statusPort)
	gateway := servertest.Start(t, port, buildGateway(t), "-listen", addr, "-backends", strings.Join(urls, ","), "-policy", "roundrobin",
		"-probe", "/healthz", "-status", at, "-act-from", "127.0.0.0/8", "-log", "off", "-cache", "0")
	ctx, stop := context.WithCancel(t.Context())
	var visitors sync.WaitGroup
	defer visitors.Wait()
	defer stop()
	visitors.Go(func() { // so that each row has something new each time
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-pace.C:
				if res, err := http.Get("http://" + addr + "/"); err == nil {
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			}
		}
	})

	b := openBrowser(t, "about:blank")
	told := func(what string, tasks []task) {
		if len(tasks) < 20 {
			t.Fatalf("%s: the trace has %d tasks", what, len(tasks))
		}
		longest := tasks[0]
		used := slices.MaxFunc(tasks, func(a, b task) int { return cmp.Compare(a.used, b.used) })
		t.Logf("%s: %d tasks, the longest %v (%v of a processor), the busiest %v of one", what, len(tasks), longest.took, longest.used, used.used)
		for _, task := range tasks {
			// A task that has waited for a processor for a quarter of its time was kept from
			// its work by whatever else the machine does.
			if task.used > longestTask || task.took > longestTask && task.used > task.took*3/4 {
				t.Errorf("%s: a task of %v, %v of a processor, after %v", what, task.took, task.used, task.at)
			}
		}
	}
	told("while it opens", b.trace(func() {
		b.do(chromedp.Navigate("http://" + at + "/"))
		b.until(`document.querySelectorAll('tr').length > 200`)
		b.until(rowOf(names[199]) + `.includes('up')`)
	}))
	told("while it is open", b.trace(func() {
		b.until(`!(window.seen = 0)`)
		b.run(`events.addEventListener('message', () => seen++)`)
		b.until(`seen >= 8`)
	}))
	b.until(`/^[0-9]/.test(` + cellOf(names[150], "requests /s") + `)`)

	// What is spent while it is open, and while it is not, in turns.
	const each = 6 * time.Second
	var spent [2]time.Duration
	for range 3 {
		for i, url := range []string{"about:blank", "http://" + at + "/"} {
			b.do(chromedp.Navigate(url))
			if i == 1 {
				b.until(`document.querySelectorAll('tr').length > 200`)
			}
			was := gateway.CPU()
			<-time.After(each) // it is measured for so long
			spent[i] += gateway.CPU() - was
		}
	}
	share := (spent[1] - spent[0]).Seconds() / (3 * each).Seconds()
	t.Logf("of a processor the gateway used %v with the page closed, %v with it open, of %v each: the page takes %.2f%%", spent[0], spent[1], 3*each, 100*share)
	if share > pageShare {
		t.Errorf("the page takes %.2f%% of a processor", 100*share)
	}
	drawn := `[...document.querySelectorAll('tr')].find(r => r.cells[0].textContent === '` + names[0] + `').querySelector('canvas')`
	b.until(`(c => c.width === 135 && c.getContext('2d').getImageData(0, 0, 135, 24).data.some(v => v))(` + drawn + `)`)
	for line := range strings.Lines(b.output.String()) {
		if strings.Contains(line, "CONSOLE") {
			t.Errorf("the page complains: %s", line)
		}
	}
}
