package foretier

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadmeShowsTheQuickstart holds the program in the README against the one
// that is compiled.
func TestReadmeShowsTheQuickstart(t *testing.T) {
	mainFunc := regexp.MustCompile(`(?ms)^func main\(\) \{\n.*?^\}$`)
	var found [2]string
	for i, file := range []string{"README.md", "examples/quickstart/main.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if found[i] = mainFunc.FindString(string(text)); found[i] == "" {
			t.Fatalf("%s has no func main", file)
		}
		if i == 1 {
			if n := len(strings.Split(strings.TrimSpace(string(text)), "\n")) - strings.Count(string(text), "\n\n"); n >= 40 {
				t.Errorf("the quickstart has grown to %d lines that are not blank, want under 40", n)
			}
		}
	}
	if found[0] != found[1] {
		t.Errorf("the README shows\n%s\nthe quickstart is\n%s", found[0], found[1])
	}
}

// TestReadmeShowsATest holds the test of a front in the README against the one that is run.
func TestReadmeShowsATest(t *testing.T) {
	text := regexp.MustCompile(`(?ms)^func TestFront\(t \*testing.T\) \{\n.*?^\}$`)
	var found [2]string
	for i, file := range []string{"README.md", "front_test.go"} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if found[i] = text.FindString(string(content)); found[i] == "" {
			t.Fatalf("%s has no TestFront", file)
		}
	}
	if found[0] != found[1] {
		t.Errorf("the README shows\n%s\nthe test is\n%s", found[0], found[1])
	}
}

func TestLinksExist(t *testing.T) {
	link := regexp.MustCompile(`(?:\]\(|src=")([^)"#:]+)(?:#[^)]*)?[)"]`)
	for page, least := range map[string]int{"README.md": 20, "CONTRIBUTING.md": 3, "BENCHMARKS.md": 10, "docs/running.md": 1, "docs/first-night.md": 1, "docs/comparison.md": 3, "docs/one-to-many.md": 8, "examples/site/README.md": 6, "SECURITY.md": 3, "docs/security.md": 1, "docs/from-nginx.md": 1, "docs/from-haproxy.md": 1, "balancer/internal/simulator/README.md": 13} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		links := link.FindAllStringSubmatch(string(text), -1)
		if len(links) < least {
			t.Errorf("%s: only %d links found", page, len(links))
		}
		for _, l := range links {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), l[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, l[1], err)
			}
		}
	}
}

// TestPagesNameTestsThatExist: an invariant whose test is gone is a wish.
func TestPagesNameTestsThatExist(t *testing.T) {
	tests := testsOf(t)
	test := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`)
	for page, least := range map[string]int{"ARCHITECTURE.md": 15, "CONTRIBUTING.md": 5, "docs/one-to-many.md": 7} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		named := test.FindAllString(string(text), -1)
		if len(named) < least {
			t.Errorf("%s: only %d tests are named", page, len(named))
		}
		for _, name := range named {
			if !tests[name] {
				t.Errorf("%s names %s, which does not exist", page, name)
			}
		}
	}
}
