package edge

import (
	"net/http"
	"runtime"
	"testing"

	"github.com/foretier/foretier/internal/testkit"
)

// TestAnIdleConnectionIsSmall: one on which nothing is asked has neither buffer nor
// anything else that a request needs. Both ends are counted, but not the stack on
// which it waits for 5 s.
func TestAnIdleConnectionIsSmall(t *testing.T) {
	const n, most = 200, 3 << 10
	s := start(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), Options{NoAccessLog: true})
	heap := func() int {
		runtime.GC() // what pools have survives one
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := heap()
	for range n {
		c := testkit.Dial(t, s.Addr().String())
		defer c.Close()
		if !asks(c, "/") {
			t.Fatal("not served")
		}
	}
	rest(t, s, n)
	if each := (heap() - before) / n; each > most {
		t.Errorf("an idle connection has %d bytes, want %d at most", each, most)
	} else {
		t.Logf("an idle connection has %d bytes", each)
	}
}
