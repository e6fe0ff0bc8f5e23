package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestPurgeNamesAURI: a PURGE in any spelling of a URL removes the page that
// visitors get, and says how many responses that were.
func TestPurgeNamesAURI(t *testing.T) {
	var rendered atomic.Int64
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprintf(w, "page %d", rendered.Add(1))
	})
	addr, _ := startGateway(t, "-backends", backend, "-purge-from", "127.0.0.0/8")
	for stored, named := range map[string]string{
		"/caf%c3%a9":       "/caf%C3%A9",
		"/%7Euser?a=%7e":   "/~user?a=~",
		"/x%2Fy{z}?q=100%": "/x%2fy%7bz%7D?q=100%",
		"/it's":            "/it%27s",
	} {
		_, first := send(t, addr, "GET", stored)
		if _, again := send(t, addr, "GET", stored); again != first {
			t.Errorf("%s is not stored: %q, then %q", stored, first, again)
		}
		if status, said := send(t, addr, "PURGE", named); status != 200 || !strings.HasSuffix(said, ", responses: 1\n") {
			t.Errorf("PURGE %s: %d %q", named, status, said)
		}
		if _, second := send(t, addr, "GET", stored); second == first {
			t.Errorf("%s was purged as %s and is still %q", stored, named, second)
		}
		if status, said := send(t, addr, "PURGE", named+"/none"); status != 200 || !strings.HasSuffix(said, ", responses: 0\n") {
			t.Errorf("PURGE of nothing: %d %q", status, said)
		}
	}
}
