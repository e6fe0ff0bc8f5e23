//go:build e2e

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foretier/foretier/health/status"
	"github.com/foretier/foretier/internal/browsertest"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/session"
)

// row is a script for the text of a server's row.
func row(server string) string {
	return `([...document.querySelectorAll('tr')].find(r => r.cells[0].textContent === '` + server + `')?.textContent || '')`
}

// requests returns how many a server has got.
func (f *farm) requests(server string) (n float64) {
	for _, pool := range f.page.Report().Parts {
		for _, backend := range pool.Parts {
			for _, m := range backend.Metrics {
				if backend.Name == server && m.Name == "requests_total" {
					n += m.Value
				}
			}
		}
	}
	return n
}

// TestE2EShopIsWatched: who takes a server out, on the page or by killing it, sees it go
// and come back, while visitors notice nothing; and what was proved, and a purge of the
// shop's own.
func TestE2EShopIsWatched(t *testing.T) {
	f, err := newFarm("127.0.0.1:0", 0, session.Memory(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	page := testkit.Listen(t)
	f.run = append(f.run, f.page, status.Server{Listener: page, Handler: f.page})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	shop := "http://" + f.srv.Addr().String()
	var visitors sync.WaitGroup
	t.Cleanup(func() {
		stop()
		visitors.Wait()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	visit := func() {
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		pace := time.NewTicker(25 * time.Millisecond)
		defer pace.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			<-pace.C
			r, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("%s/product/1?visit=%d", shop, i), nil)
			if err != nil {
				t.Error(err)
				return
			}
			res, err := client.Do(r)
			if ctx.Err() != nil {
				return
			}
			if err != nil || res.StatusCode != http.StatusOK {
				t.Errorf("a visitor notices: %v %v", res, err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
	}
	for range 4 {
		visitors.Go(visit)
	}

	b := browsertest.Open(t, "http://"+page.Addr().String()+"/")
	for _, server := range []string{"web0", "web1", "web2"} {
		b.Until(row(server) + `.includes('up')`)
	}
	b.Until(`document.body.innerText.includes('proved: ')`)

	// Taken out by click, and put back.
	b.Run(`window.confirm = () => true;
		window.click = (server, verb) => [...[...document.querySelectorAll('tr')].find(r => r.cells[0].textContent === server).querySelectorAll('button')].find(b => b.textContent === verb).click();
		click('web1', 'maintenance')`)
	b.Until(row("web1") + `.includes('set to maintenance')`)
	b.Run(`click('web1', 'ready')`)
	b.Until(`!` + row("web1") + `.includes('set to')`)

	// Killed, and started again: the one that has the visitors.
	busy := 1
	if f.requests("web2") > f.requests("web1") {
		busy = 2
	}
	name := fmt.Sprint("web", busy)
	if err := f.web[busy].stop(); err != nil {
		t.Fatal(err)
	}
	took := b.Until(row(name) + `.includes('down')`)
	t.Logf("a killed server is shown after %v", took)
	if took > 2*time.Second {
		t.Errorf("a killed server is shown after %v", took)
	}
	if err := f.web[busy].start(); err != nil {
		t.Fatal(err)
	}
	b.Until(row(name) + `.includes('up')`)

	// A price that changes is a purge, by tag.
	res, err := http.Post(shop+"/admin/price?sku=1&price=5", "", strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	b.Until(`document.body.innerText.includes('purge of the tag')`)
	for _, line := range b.Complaints() {
		t.Errorf("the page complains: %s", line)
	}
}
