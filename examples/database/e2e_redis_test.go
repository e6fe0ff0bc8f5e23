//go:build e2e

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// A visitor puts things into a cart of PHP's, one after the other, and holds
// that none is ever lost.
type visitor struct {
	client *http.Client
	url    string

	mu     sync.Mutex
	n      int       // what the cart said last
	at     time.Time // when that was asked for
	failed int       // since then: each may have been put in all the same
	fails  int       // in all
	wrong  string    // the first loss
	last   string    // the latest failure
}

func (v *visitor) shop(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		v.put(ctx)
	}
}

func (v *visitor) put(ctx context.Context) {
	sent := time.Now()
	n, err := v.ask(ctx)
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case err != nil:
		v.failed++
		v.fails++
		v.last = err.Error()
	default:
		if (n <= v.n || n > v.n+v.failed+1) && v.wrong == "" {
			v.wrong = fmt.Sprintf("%d things after %d and %d failures", n, v.n, v.failed)
		}
		v.n, v.failed, v.at = n, 0, sent
	}
}

func (v *visitor) ask(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url, nil)
	if err != nil {
		return 0, err
	}
	res, err := v.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%d: %s", res.StatusCode, body)
	}
	return strconv.Atoi(string(body))
}

// servedAfter reports whether something that was asked for after t is in the cart.
func (v *visitor) servedAfter(t time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.at.After(t)
}

// TestE2ERedisFailover has PHP keep its sessions in Redis, by the php.ini of
// the README.
func TestE2ERedisFailover(t *testing.T) {
	first := servertest.Redis(t)
	_, port, err := net.SplitHostPort(first.Addr)
	if err != nil {
		t.Fatal(err)
	}
	second := servertest.Redis(t, "--replicaof", "127.0.0.1 "+port)
	two := redis.NewClient(&redis.Options{Addr: second.Addr})
	defer two.Close()
	ctx := context.Background()
	testkit.Within(t, patience, "the replica follows", func() bool {
		return strings.Contains(two.Info(ctx, "replication").Val(), "master_link_status:up")
	})

	listen := freeAddr(t)
	p, status := serve(t, "-kind", "redis", "-listen", listen, "-backends", "tcp://"+first.Addr+",tcp://"+second.Addr,
		"-memory", filepath.Join(t.TempDir(), "primary"))
	ini, err := os.ReadFile("php.ini")
	if err != nil {
		t.Fatal(err)
	}
	const documented = "tcp://127.0.0.1:6379?"
	if !strings.Contains(string(ini), documented) {
		t.Fatalf("php.ini does not say %s", documented)
	}
	file := write(t, "php.ini", strings.ReplaceAll(string(ini), documented, "tcp://"+listen+"?"))
	t.Setenv("PHP_CLI_SERVER_WORKERS", "8")
	phpPort := servertest.FreePort(t)
	php := servertest.Start(t, phpPort, "php", "-c", file, "-t", "testdata/docroot", "-S", "127.0.0.1:"+strconv.Itoa(phpPort))

	var visitors []*visitor
	shopping, leave := context.WithCancel(ctx)
	var gone sync.WaitGroup
	for range 4 {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		v := &visitor{url: "http://" + php.Addr + "/cart.php", client: &http.Client{Jar: jar, Timeout: patience}}
		visitors = append(visitors, v)
		gone.Go(func() { v.shop(shopping) })
	}
	defer gone.Wait()
	defer leave()
	served := func(since time.Time, want int) func() bool {
		return func() bool {
			n := 0
			for _, v := range visitors {
				if v.servedAfter(since) {
					n++
				}
			}
			return n >= want
		}
	}
	testkit.Within(t, patience, "all are served", served(time.Now(), len(visitors)))
	time.Sleep(2 * time.Second) // a load to be interrupted: the servers know no fake clock

	first.Kill()
	time.Sleep(time.Second) // nobody is primary for as long as an operator takes
	if err := two.Do(ctx, "REPLICAOF", "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	promoted := time.Now()
	// A newcomer. Those who were cut off in a page, all of them on a bad day, have left
	// their lock behind, which PHP waits for: ten seconds.
	testkit.Within(t, patience, "somebody is served again", func() bool {
		_, err := (&visitor{url: visitors[0].url, client: &http.Client{Timeout: patience}}).ask(ctx)
		return err == nil
	})
	took := time.Since(promoted)
	t.Logf("served again %v after the promotion", took.Round(time.Millisecond))
	if took > resume {
		t.Errorf("want at most %v", resume)
	}
	testkit.Within(t, patience, "all are", served(promoted, len(visitors)))
	t.Logf("all visitors %v after it", time.Since(promoted).Round(time.Millisecond))

	// Back by mistake, as a primary, and empty.
	first.Restart()
	testkit.Within(t, patience, "the old primary is fenced", func() bool { return fenced(t, status, first.Addr) })
	time.Sleep(2 * time.Second) // a wrong write would need some time to show
	testkit.Within(t, patience, "all are served on", served(time.Now(), len(visitors)))
	leave()
	gone.Wait()

	one := redis.NewClient(&redis.Options{Addr: first.Addr})
	defer one.Close()
	if n, err := one.DBSize(ctx).Result(); n != 0 || err != nil {
		t.Errorf("the old primary has %d keys (%v), want none", n, err)
	}
	for i, v := range visitors {
		t.Logf("visitor %d: %d things, %d failures (at last: %s)", i, v.n, v.fails, v.last)
		if v.wrong != "" {
			t.Errorf("visitor %d lost something: %s", i, v.wrong)
		}
	}
	p.log.Wants(t, "is primary in the place of "+first.Addr)
	if t.Failed() {
		t.Logf("PHP:\n%.2000s", php.Output())
	}
}
