package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestPurgeByWhatIsNotUnderstood: a shop that purges in a way of its own is told that
// nothing was purged, and nothing is.
func TestPurgeByWhatIsNotUnderstood(t *testing.T) {
	var rendered atomic.Int64
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprintf(w, "page %d", rendered.Add(1))
	})
	addr, log := startGateway(t, "-backends", backend, "-purge-from", "127.0.0.0/8")
	_, first := sendTarget(t, addr, "GET", "/")
	for _, field := range []string{
		"X-Magento-Tags-Pattern: ((^|,)cat_p_1(,|$))", "X-Magento-Tags-Pattern: .*", "x-magento-tags-pattern:",
		"xkey: product-1|product-2", "Xkey-Purge:", "Surrogate-Key: (^|,)product-1", "Cache-Tag: product-*", "Cache-Tags: ,",
		"X-Cache-Tags: product-1", "X-Purge-Method: regex", "X-Purge-Regex: .*", "X-Ban-Url: .*", "Cache-Group-Invalidation: \"g\"",
	} {
		name, _, _ := strings.Cut(field, ":")
		if status, said := sendTarget(t, addr, "PURGE", "/", field); status != 400 || !strings.Contains(strings.ToLower(said), strings.ToLower(name)) || strings.Contains(said, "200") {
			t.Errorf("%s: %d %q", field, status, said)
		}
		if status, said := sendTarget(t, addr, "PURGE", "/", field, "Accept: application/json", "Soft-Purge: 1"); status != 400 || !strings.Contains(said, "nothing purged") {
			t.Errorf("%s: %d %q", field, status, said)
		}
	}
	if _, again := sendTarget(t, addr, "GET", "/"); again != first {
		t.Errorf("something was purged: %q, then %q", first, again)
	}
	if lines := linesOf(t, log, "method=PURGE", 26); !strings.Contains(lines[0], "X-Magento-Tags-Pattern") {
		t.Errorf("the log line does not name the field: %s", lines[0])
	}
	// What a PURGE of a URL has besides is nobody's business.
	if status, said := sendTarget(t, addr, "PURGE", "/", "X-Purge-Method: default", "X-Pool: varnish", "Surrogate-Capability: v=\"ESI/1.0\"", "X-Forwarded-Proto: https", "If-None-Match: \"tag\"", "X-Api-Key: k"); status != 200 || !strings.Contains(said, "responses: 1") {
		t.Errorf("a PURGE of a URL: %d %q", status, said)
	}
}

// TestPurgeByTags: by whatever method, whoever may; nobody else's reaches a backend.
func TestPurgeByTags(t *testing.T) {
	var rendered atomic.Int64
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" {
			t.Errorf("the backend gets %s", r.Method)
		}
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("xkey", "product-1 "+r.Host)
		fmt.Fprintf(w, "page %d", rendered.Add(1))
	})
	for flags, hosts := range map[string]int{"-purge-by-host=false": 2, "-purge-by-host": 1} {
		addr, _ := startGateway(t, "-backends", backend, "-purge-from", "127.0.0.0/8", flags)
		for _, how := range []string{"PURGE xkey", "PURGE Surrogate-Key", "PURGE Cache-Tag", "PURGE Cache-Tags", "BAN xkey", "PURGEKEYS xkey-softpurge"} {
			for _, host := range []string{"shop.example", "other.example"} {
				sendTarget(t, addr, "GET", "http://"+host+"/")
			}
			method, field, _ := strings.Cut(how, " ")
			want := fmt.Sprintf(", responses: %d\n", hosts)
			if status, said := sendTarget(t, addr, method, "/", field+": product-2,product-1"); status != 200 || !strings.HasSuffix(said, want) {
				t.Errorf("%s, %s: %d %q, want %q", flags, how, status, said, want)
			}
		}
	}
	addr, _ := startGateway(t, "-backends", backend, "-purge-from", "192.0.2.1")
	for _, method := range []string{"PURGE", "BAN", "PURGEKEYS"} {
		if status, _ := sendTarget(t, addr, method, "/", "xkey: product-1"); status != 403 {
			t.Errorf("a stranger's %s: %d", method, status)
		}
	}
}

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
		_, first := sendTarget(t, addr, "GET", stored)
		if _, again := sendTarget(t, addr, "GET", stored); again != first {
			t.Errorf("%s is not stored: %q, then %q", stored, first, again)
		}
		if status, said := sendTarget(t, addr, "PURGE", named); status != 200 || !strings.HasSuffix(said, ", responses: 1\n") {
			t.Errorf("PURGE %s: %d %q", named, status, said)
		}
		if _, second := sendTarget(t, addr, "GET", stored); second == first {
			t.Errorf("%s was purged as %s and is still %q", stored, named, second)
		}
		if status, said := sendTarget(t, addr, "PURGE", named+"/none"); status != 200 || !strings.HasSuffix(said, ", responses: 0\n") {
			t.Errorf("PURGE of nothing: %d %q", status, said)
		}
	}
}
