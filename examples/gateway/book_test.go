package main

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge/edgetest"
	"github.com/foretier/foretier/router/routertest"
)

const oneToMany = "../../docs/one-to-many.md"

// gatewaysOf returns the flags of the gateways that the page starts, with the file of their
// backends.
func gatewaysOf(t *testing.T) (all [][]string) {
	t.Helper()
	backends, place := "", strings.NewReplacer()
	for _, b := range testkit.Blocks(t, oneToMany) {
		if strings.HasPrefix(b.Head, "/etc/gateway/backends,") {
			backends = testkit.Tree(t, map[string]string{"backends": b.Text}) + "/backends"
			place = strings.NewReplacer("@/etc/gateway/backends", "@"+backends)
		}
	}
	for _, b := range testkit.Blocks(t, oneToMany) {
		if line, ok := strings.CutPrefix(b.Text, "gateway "); ok {
			all = append(all, strings.Fields(place.Replace(line)))
		}
	}
	if backends == "" || len(all) != 2 {
		t.Fatalf("the page starts %d gateways with %q", len(all), backends)
	}
	return all
}

// without returns flags but for some, each of which has a value.
func without(flags []string, names ...string) (rest []string) {
	for i := 0; i < len(flags); i += 2 {
		if !strings.Contains(strings.Join(names, " ")+" ", flags[i]+" ") {
			rest = append(rest, flags[i], flags[i+1])
		}
	}
	return rest
}

// TestOneToMany: each gateway of the page is one, and the last sends each request of the
// page's table to whom that says.
func TestOneToMany(t *testing.T) {
	page, err := os.ReadFile(oneToMany)
	if err != nil {
		t.Fatal(err)
	}
	gateways := gatewaysOf(t)
	for _, flags := range gateways {
		if _, err := parse(flags, io.Discard); err != nil {
			t.Errorf("%q: %v", flags, err)
		}
	}
	rows := regexp.MustCompile("(?m)^\\| `([A-Z]+) (\\S+)` \\| ([a-z, ]+) \\|").FindAllStringSubmatch(string(page), -1)
	if len(rows) < 10 {
		t.Fatalf("only %d requests found", len(rows))
	}

	var mu sync.Mutex
	var asked []string // guarded by mu
	server := func(name string, lacks string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/health.php" {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, name)
			w.Header().Set("Cache-Control", "no-store")
			if strings.HasPrefix(r.URL.Path, lacks) {
				w.WriteHeader(http.StatusNotFound)
			}
		})
	}
	apps := server("apps", "/wp-content/uploads/")
	servers := map[string]http.Handler{"http://10.0.0.11": apps, "http://10.0.0.12": apps, "http://10.0.0.10": server("origin", "nothing")}
	// What is apart from who is asked: there is no port, no certificate, no Redis.
	flags := without(gateways[1], "-listen", "-status", "-tls-cert", "-tls-key", "-redis-cache")
	inVirtualTime(t, servers, flags, func(t *testing.T, _ *edgetest.Log, gateway *edgetest.Front) {
		time.Sleep(time.Minute) // of the bubble's: the probes have passed
		for _, row := range rows {
			method, target, want := row[1], row[2], row[3]
			routertest.Table(t, gateway, routertest.Row{Method: method, Target: target, Status: http.StatusOK})
			mu.Lock()
			if got := strings.Join(asked, ", then "); got != want {
				t.Errorf("%s %s is asked of %q, the page says %q", method, target, got, want)
			}
			asked = nil
			mu.Unlock()
		}
	})
}
