package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/servertest"
)

// pricedShop is a shop of pages that say what price they have, and when they were asked for.
func pricedShop(t *testing.T) (backend string, price, calls *atomic.Int64) {
	price, calls = new(atomic.Int64), new(atomic.Int64)
	backend = backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		w.Header().Set("Cache-Control", "max-age=3600")
		fmt.Fprintf(w, "%s %d", r.URL.Path, price.Load())
	})
	return backend, price, calls
}

// seen asks a gateway for a page, and says what it shows and what the cache did.
func seen(t *testing.T, addr, path string) (body, cacheStatus string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "shop.example"
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if res.StatusCode != 200 || err != nil {
		t.Errorf("%s: %d %q, %v", path, res.StatusCode, text, err)
	}
	return string(text), res.Header.Get("Cache-Status")
}

func isStale(cacheStatus string) bool {
	return strings.Contains(cacheStatus, "ttl=-") || strings.Contains(cacheStatus, "stale")
}

// becomes waits until what a page shows and the cache did is as wanted.
func becomes(t *testing.T, addr, path, body string, hit bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ; <-tick.C {
		got, status := seen(t, addr, path)
		if got == body && !isStale(status) && (!hit || strings.Contains(status, "; hit")) {
			return
		}
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("%s shows %q: %s", path, got, status)
		}
	}
}

// TestSnapshotOverRestart: a gateway that was replaced serves what it had, but not what
// was purged at another meanwhile.
func TestSnapshotOverRestart(t *testing.T) {
	backend, price, calls := pricedShop(t)
	path := filepath.Join(t.TempDir(), "pages")
	redis := "redis://" + servertest.Redis(t).Addr
	flags := []string{"-backends", backend, "-purge-from", "127.0.0.0/8", "-redis-cache", redis}
	other, _ := startGateway(t, flags...)
	flags = append(flags, "-cache-snapshot", path)
	addr, log, end := startServe(t, flags...)
	for _, page := range []string{"/kept", "/changed"} {
		becomes(t, addr, page, page+" 0", true)
	}
	if code := end(); code != 0 || !strings.Contains(log.String(), "the cache is saved") {
		t.Fatalf("exit code %d: %s", code, log)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	price.Store(1)
	if status, said := sendTarget(t, other, "PURGE", "/changed", "Prefer: wait=30"); status != 200 {
		t.Fatalf("PURGE: %d %q", status, said)
	}
	calls.Store(0)
	addr, log, _ = startServe(t, flags...)
	log.Wants(t, "the cache is as it was")
	for range 5 {
		if body, status := seen(t, addr, "/changed"); body == "/changed 0" && !isStale(status) {
			t.Errorf("what was purged is fresh: %s", status)
		}
	}
	becomes(t, addr, "/kept", "/kept 0", true)
	becomes(t, addr, "/changed", "/changed 1", true)
	if n := calls.Load(); n > 1 {
		t.Errorf("%d calls, for one page that was purged", n)
	}
}

// TestSnapshotThatIsNone: a gateway starts, and says so once, whatever is in the file;
// without -redis-cache what it had is served as stale.
func TestSnapshotThatIsNone(t *testing.T) {
	backend, _, _ := pricedShop(t)
	path := filepath.Join(t.TempDir(), "pages")
	flags := []string{"-backends", backend, "-cache-snapshot", path}
	addr, log, end := startServe(t, flags...)
	becomes(t, addr, "/", "/ 0", true)
	if strings.Contains(log.String(), "not used") {
		t.Errorf("the first start: %s", log)
	}
	end()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"nothing": {}, "half": good[:len(good)/2], "another": []byte(strings.Repeat("no", 1000))} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		addr, log, end := startServe(t, flags...)
		if n := strings.Count(log.String(), "the snapshot of the cache is not used"); n != 1 {
			t.Errorf("%s: %d lines: %s", name, n, log)
		}
		if _, status := seen(t, addr, "/"); strings.Contains(status, "hit") {
			t.Errorf("%s: %s", name, status)
		}
		if code := end(); code != 0 {
			t.Errorf("%s: exit code %d", name, code)
		}
	}
	_, log, _ = startServe(t, append(flags, "-cache-devices")...)
	log.Wants(t, "written under other Rules")
	addr, _, end = startServe(t, flags...)
	if body, status := seen(t, addr, "/"); body != "/ 0" || !strings.Contains(status, "hit; ttl=-") {
		t.Errorf("%q, %s", body, status)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if code := end(); code != 0 {
		t.Errorf("nowhere to save to: exit code %d", code)
	}
}
