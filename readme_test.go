package foretier

import (
	"io/fs"
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

func TestReadmeLinksExist(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(text), -1)
	if len(links) < 5 {
		t.Fatalf("only %d links found", len(links))
	}
	for _, l := range links {
		if _, err := os.Stat(l[1]); err != nil {
			t.Errorf("README links to %s: %v", l[1], err)
		}
	}
}

// TestArchitectureNamesTestsThatExist: an invariant whose test is gone is a
// wish.
func TestArchitectureNamesTestsThatExist(t *testing.T) {
	page, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`).FindAllString(string(page), -1)
	if len(named) < 15 {
		t.Fatalf("only %d tests are named", len(named))
	}
	var code strings.Builder
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		code.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range named {
		if !strings.Contains(code.String(), "\nfunc "+name+"(") {
			t.Errorf("ARCHITECTURE.md names %s, which does not exist", name)
		}
	}
}
