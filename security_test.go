package foretier

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityIsHeldByTests: each attack that the page says is defended has a test that
// shows it.
func TestSecurityIsHeldByTests(t *testing.T) {
	page, err := os.ReadFile("docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\n## What is defended\n")
	rest, gaps, _ := strings.Cut(rest, "\n## What is not defended\n")
	tests := testsOf(t)
	name := regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w+)`")
	attacks := 0
	for line := range strings.Lines(rest) {
		row := cells(line)
		if row == nil || row[0] == "attack" {
			continue
		}
		attacks++
		if len(row) != 3 {
			t.Errorf("%d cells, want 3: %s", len(row), line)
			continue
		}
		held := name.FindAllStringSubmatch(row[2], -1)
		if len(held) == 0 {
			t.Errorf("%s: want a test that holds it", row[0])
		}
		for _, n := range held {
			if !tests[n[1]] {
				t.Errorf("%s: there is no %s", row[0], n[1])
			}
		}
	}
	if gaps := strings.Count(gaps, "\n- **"); attacks < 30 || gaps < 5 {
		t.Errorf("only %d attacks and %d gaps found", attacks, gaps)
	}
}
