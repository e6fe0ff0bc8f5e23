package law

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/fields"
)

// TestACodingClassIsOneForTheCache: what an edge takes for the same the cache
// takes for the same.
func TestACodingClassIsOneForTheCache(t *testing.T) {
	words := []string{"gzip", "br", "zstd", "deflate", "compress", "x-gzip", "identity", "*", "gzip;q=0", "br;q=0.5", "GZIP", "", " ", "sdch"}
	seen := make(map[uint8]Codings)
	classless := 0
	for _, line := range []string{"", "gzip, deflate, br, zstd", "gzip, deflate, br", "gzip, deflate", "gzip"} {
		if class, ok := fields.CodingClass(line); !ok || class == 0 != (line == "") {
			t.Errorf("%q: class %d, %t", line, class, ok)
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		members := make([]string, rnd.IntN(6))
		if rnd.IntN(100) == 0 {
			members = make([]string, rnd.IntN(200)) // more than are read
		}
		for i := range members {
			members[i] = words[rnd.IntN(4)]
			if rnd.IntN(8) == 0 {
				members[i] = words[rnd.IntN(len(words))]
			}
		}
		line := strings.Join(members, []string{",", ", ", " , ", ",,"}[rnd.IntN(4)])
		class, ok := fields.CodingClass(line)
		if !ok {
			classless++
			continue
		}
		h := http.Header{"Accept-Encoding": {line}}
		got := ReadCodings(h["Accept-Encoding"])
		if was, known := seen[class]; known && was != got {
			t.Fatalf("%q: class %d is %v and %v", line, class, was, got)
		}
		seen[class] = got
	}
	if seen[0] != ReadCodings(nil) {
		t.Error("without a coding is not without the field")
	}
	if len(seen) != 16 || classless < 100 || classless > 15000 {
		t.Errorf("%d classes, %d lines without one", len(seen), classless)
	}
}
