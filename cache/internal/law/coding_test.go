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

func TestWish(t *testing.T) {
	offers := []Codings{CodingOf("br"), CodingOf("zstd"), CodingOf("gzip")}
	names := []string{"br", "zstd", "gzip"}
	for line, want := range map[string]string{
		"": "", "identity": "", "deflate": "", "foo": "", "gzip": "gzip", "x-gzip": "gzip", "GZIP": "gzip",
		"gzip, deflate, br, zstd": "br", "gzip, zstd": "zstd", "zstd;q=1.0, br;q=0.9": "zstd", "br;q=0.1, gzip;q=0.11": "gzip",
		"br;q=0.999, gzip": "gzip", "br;q=0.9999, gzip": "gzip", "br;q=0.0001, foo": "br",
		"*": "br", "*, br;q=0": "zstd", "*;q=0.5, gzip": "gzip", "*;q=0": "", "*;q=0, gzip;q=0.1": "gzip", "br;q=0, zstd;q=0.0, gzip;q=0.000": "",
		"br, br;q=0": "", "br;q=0.2, gzip;q=0.5, br": "gzip",
		"identity;q=0.5, gzip;q=0.4": "", "identity;q=0.5, gzip;q=0.5": "gzip", "identity, gzip;q=0.9": "", "identity;q=0": "", "identity;q=0, br;q=0.001": "br",
		"br;q=x": "br", "br;q=-1": "br", "br;q=2, gzip": "br", "br;q=, gzip;q=0.5": "br", "br ; q = 0.3, gzip;q=.4": "gzip", "br;x=1;q=0": "br",
		strings.Repeat("gzip,", 65): "", ",,, ,br,,": "br",
	} {
		w := ReadWish([]string{line})
		got := ""
		if i := w.Best(offers, 7); i >= 0 {
			got = names[i]
		}
		if got != want {
			t.Errorf("%.60q: %q, want %q", line, got, want)
		}
	}
	w := ReadWish([]string{"gzip, br;q=0.5", "zstd;q=0.8"})
	if w.Best(offers, 7) != 2 || w.Best(offers, 3) != 1 || w.Best(offers, 1) != 0 || w.Best(offers, 0) != -1 {
		t.Error("among what is there")
	}
}

// TestAWishIsForWhatIsAccepted: what is best is accepted, and nothing is best only if
// none is, or what is not coded is wanted more.
func TestAWishIsForWhatIsAccepted(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	names := []string{"gzip", "br", "zstd", "identity", "*", "deflate", "gzip"}
	values := []string{"", ";q=0", ";q=0.5", ";q=1", ";q=0.001", ";q=x"}
	for range 50000 {
		var members []string
		for range rnd.IntN(6) {
			members = append(members, names[rnd.IntN(len(names))]+values[rnd.IntN(len(values))])
		}
		lines := []string{strings.Join(members, ", ")}
		offers, accepted := []Codings{brotli, zstd, gzip}, ReadCodings(lines)
		w := ReadWish(lines)
		switch i := w.Best(offers, 7); {
		case i >= 0 && accepted&offers[i] == 0:
			t.Fatalf("%q: %v is not accepted", lines, offers[i])
		case i < 0 && accepted&modern != 0 && w.identity <= 0:
			t.Fatalf("%q: nothing, and %v is accepted", lines, accepted)
		}
	}
}
