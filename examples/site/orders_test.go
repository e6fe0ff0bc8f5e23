//go:build e2e

package site

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// A till sends orders, each once, by both gateways in turns, and remembers which were
// acknowledged.
type till struct {
	s       *site
	stop    context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	acked  []string // guarded by mu
	failed int      // guarded by mu
	why    string   // guarded by mu: of the last that failed
	dead   [2]bool  // guarded by mu: gateways that are not asked
}

// till opens a till, with a table for what it sends.
func (s *site) till() *till {
	s.exec(0, "CREATE TABLE site.orders (id VARCHAR(40) PRIMARY KEY) ENGINE=InnoDB")
	ctx, stop := context.WithCancel(context.Background())
	l := &till{s: s, stop: stop}
	s.t.Cleanup(l.end)
	for gateway := range s.gateways {
		client := s.client(gateway, false)
		l.running.Go(func() {
			for n, tick := 0, time.NewTicker(250*time.Millisecond); ctx.Err() == nil; n++ {
				select {
				case <-ctx.Done():
					tick.Stop()
				case <-tick.C:
					l.send(ctx, client, gateway, fmt.Sprintf("till%d-%d", gateway, n))
				}
			}
		})
	}
	return l
}

func (l *till) end() {
	l.stop()
	l.running.Wait()
}

func (l *till) send(ctx context.Context, client *http.Client, gateway int, id string) {
	l.mu.Lock()
	dead := l.dead[gateway]
	l.mu.Unlock()
	if dead {
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, home+"/order.php", strings.NewReader(url.Values{"id": {id}}.Encode()))
	if err != nil {
		l.s.t.Error(err)
		return
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, body, err := answer(client, req)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case err == nil && status == 200 && body == "stored "+id+"\n":
		l.acked = append(l.acked, id)
	case !l.dead[gateway]:
		l.failed++
		l.why = fmt.Sprintf("%d, %v, %.120q", status, err, body)
	}
}

// take returns how many orders have failed since the last time, and why the last did.
func (l *till) take() (failed int, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	failed, why = l.failed, l.why
	l.failed, l.why = 0, ""
	return failed, why
}

func (l *till) shun(gateway int, dead bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead[gateway] = dead
}

// lost returns the acknowledged orders that a database does not have, and how many there are.
func (l *till) lost(db int) (lost []string, acked int) {
	l.s.t.Helper()
	conn := l.s.connect(db)
	defer conn.Close()
	rows, err := conn.Query("SELECT id FROM site.orders")
	if err != nil {
		l.s.t.Fatal(err)
	}
	defer rows.Close()
	have := make(map[string]bool)
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			l.s.t.Fatal(err)
		}
		have[id] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range l.acked {
		if !have[id] {
			lost = append(lost, id)
		}
	}
	return lost, len(l.acked)
}
