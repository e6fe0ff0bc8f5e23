package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/foretier/foretier/internal/servertest"
)

// TestPurgeReachesOtherGateways: a PURGE at one gateway, answered once all have
// applied it.
func TestPurgeReachesOtherGateways(t *testing.T) {
	var price atomic.Int64
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		fmt.Fprintf(w, "%d €", price.Load())
	})
	redis := "redis://" + servertest.Redis(t).Addr
	var tier []string
	for range 3 {
		addr, _ := startGateway(t, "-backends", backend, "-purge-from", "127.0.0.0/8", "-redis-cache", redis)
		tier = append(tier, addr)
	}
	for i := range 5 {
		price.Store(int64(i))
		status, said := sendTarget(t, tier[i%3], "PURGE", "/", "Prefer: wait=30")
		if status != 200 || !strings.Contains(said, "by all gateways") {
			t.Errorf("PURGE: %d %q", status, said)
		}
		for j, addr := range tier {
			if _, got := sendTarget(t, addr, "GET", "/"); got != fmt.Sprintf("%d €", i) {
				t.Errorf("gateway %d serves %q after %d", j, got, i)
			}
		}
	}
}
