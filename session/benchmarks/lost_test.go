package benchmarks

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/foretier/foretier/internal/servertest"
)

const requests = 200

// crowd sends the requests to two machines at once, all with one cookie, and
// returns how many failed.
func crowd(tiers []http.Handler, cookie string, path func(i int) string) (failed int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	start := make(chan struct{})
	for i := range requests {
		wg.Go(func() {
			<-start
			w, _ := do(tiers[i%2], path(i), cookie)
			if w.Code != http.StatusOK {
				mu.Lock()
				defer mu.Unlock()
				failed++
			}
		})
	}
	close(start)
	wg.Wait()
	return failed
}

// TestLostUpdates prints what is left of 200 changes to one cart, made at once
// through two machines, half of them to one item; and whether a logout among
// 200 changes is one afterwards.
func TestLostUpdates(t *testing.T) {
	server := servertest.Redis(t)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer table.Flush()
	fmt.Fprintln(table, "library\tkept of 200\tfailed\tlost\tafter a logout among 200")
	for _, s := range sides {
		tiers := []http.Handler{s.new(t, client(t, server)), s.new(t, client(t, server))}
		_, cookie := do(tiers[0], "/add?sku=first", "")
		failed := crowd(tiers, cookie, func(i int) string {
			if i < requests/2 {
				return "/add?sku=tea"
			}
			return fmt.Sprintf("/add?sku=n%d", i)
		})
		kept := -1 // first
		for _, n := range cart(t, tiers[0], cookie) {
			kept += n
		}

		_, cookie = do(tiers[0], "/add?sku=first", "")
		_, cookie = do(tiers[0], "/login", cookie)
		crowd(tiers, cookie, func(i int) string {
			if i == requests/2 {
				return "/logout"
			}
			return "/add?sku=tea"
		})
		after := "logged out"
		if len(cart(t, tiers[0], cookie)) > 0 {
			after = "back with a cart"
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\n", s.name, kept, failed, requests-failed-kept, after)
		if s.name == "foretier" && (kept != requests || failed > 0 || after != "logged out") {
			t.Errorf("kept %d, failed %d, %s", kept, failed, after)
		}
	}
}

func cart(t *testing.T, h http.Handler, cookie string) (items map[string]int) {
	t.Helper()
	w, _ := do(h, "/read", cookie)
	if err := json.Unmarshal(w.Body.Bytes(), &items); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return items
}
