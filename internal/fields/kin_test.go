package fields

import (
	"bufio"
	"net/http"
	"os"
	"strings"
	"testing"
)

// names reads the fields that a file lists, and whether each stands behind a +.
func names(t *testing.T, file string) map[string]bool {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := make(map[string]bool)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		line, plus := strings.CutPrefix(line, "+")
		for _, name := range strings.Fields(line) {
			out[http.CanonicalHeaderKey(name)] = plus
		}
	}
	return out
}

// TestFieldsThatClaimSomething: they go by kind, those that a proxy may know
// only if the peer is none that is trusted.
func TestFieldsThatClaimSomething(t *testing.T) {
	for name, proxy := range names(t, "testdata/claims.txt") {
		for _, trusted := range []bool{false, true} {
			h := http.Header{name: {"x"}}
			Clean(h, trusted)
			if got, want := len(h) > 0, trusted && proxy; got != want {
				t.Errorf("%s, trusted %t: passes %t", name, trusted, got)
			}
		}
	}
}

// TestHarmlessFieldsPass: a field that is taken away without need breaks
// somebody's application.
func TestHarmlessFieldsPass(t *testing.T) {
	list := names(t, "testdata/harmless.txt")
	if len(list) < 300 {
		t.Errorf("only %d fields", len(list))
	}
	for name := range list {
		h := http.Header{name: {"x"}}
		if Clean(h, false); len(h) == 0 {
			t.Errorf("%s is gone", name)
		}
	}
}

// TestNamesOfEveryShapeAreJudged: nothing in a name's shape breaks the judge,
// or makes it slow.
func TestNamesOfEveryShapeAreJudged(t *testing.T) {
	for _, name := range []string{"-", "--", "X", "X-", "-X", "X--Host", "A-", strings.Repeat("X-Host-", 4000), strings.Repeat("ip", 30), strings.Repeat("-", 64)} {
		claimed(http.CanonicalHeaderKey(name))
	}
	if claimed("X--Host") != ofTarget {
		t.Error("a doubled hyphen hides a word")
	}
}

func BenchmarkClean(b *testing.B) {
	h := http.Header{}
	for _, name := range []string{"Accept", "Accept-Encoding", "Accept-Language", "Cookie", "User-Agent", "Sec-Fetch-Mode", "Sec-Ch-Ua", "Referer",
		"X-Csrf-Token", "X-Store-Id", "Sec-Ch-Ua-Full-Version-List"} {
		h[name] = []string{"x"}
	}
	b.ReportAllocs()
	for b.Loop() {
		Clean(h, false)
	}
}
