//go:build e2e

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/foretier/foretier/internal/browsertest"
	"github.com/foretier/foretier/internal/servertest"
)

const (
	longestTask = 50 * time.Millisecond // of the page's, so that it answers whoever types
	pageShare   = 0.01                  // of a processor, that an open page may take of the gateway
)

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

	b := browsertest.Open(t, "about:blank")
	told := func(what string, tasks []browsertest.Task) {
		if len(tasks) < 20 {
			t.Fatalf("%s: the trace has %d tasks", what, len(tasks))
		}
		longest := tasks[0]
		used := slices.MaxFunc(tasks, func(a, b browsertest.Task) int { return cmp.Compare(a.Used, b.Used) })
		t.Logf("%s: %d tasks, the longest %v (%v of a processor), the busiest %v of one", what, len(tasks), longest.Took, longest.Used, used.Used)
		for _, task := range tasks {
			// A task that has waited for a processor for a quarter of its time was kept from
			// its work by whatever else the machine does.
			if task.Used > longestTask || task.Took > longestTask && task.Used > task.Took*3/4 {
				t.Errorf("%s: a task of %v, %v of a processor, after %v", what, task.Took, task.Used, task.At)
			}
		}
	}
	told("while it opens", b.Trace(func() {
		b.Do(chromedp.Navigate("http://" + at + "/"))
		b.Until(`document.querySelectorAll('tr').length > 200`)
		b.Until(rowOf(names[199]) + `.includes('up')`)
	}))
	told("while it is open", b.Trace(func() {
		b.Until(`!(window.seen = 0)`)
		b.Run(`events.addEventListener('message', () => seen++)`)
		b.Until(`seen >= 8`)
	}))
	b.Until(`/^[0-9]/.test(` + cellOf(names[150], "requests /s") + `)`)

	// What is spent while it is open, and while it is not, in turns.
	const each = 6 * time.Second
	var spent [2]time.Duration
	for range 3 {
		for i, url := range []string{"about:blank", "http://" + at + "/"} {
			b.Do(chromedp.Navigate(url))
			if i == 1 {
				b.Until(`document.querySelectorAll('tr').length > 200`)
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
	b.Until(`(c => c.width === 135 && c.getContext('2d').getImageData(0, 0, 135, 24).data.some(v => v))(` + drawn + `)`)
	for _, line := range b.Complaints() {
		t.Errorf("the page complains: %s", line)
	}
}
