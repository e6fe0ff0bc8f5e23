package foretier

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// testsOf returns the names of all tests and examples, those of other modules of the
// repository too.
func testsOf(t *testing.T) map[string]bool {
	t.Helper()
	found := make(map[string]bool)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				found[f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// cells are those of a row of a table in Markdown; nil: it is none.
func cells(line string) []string {
	line, ok := strings.CutPrefix(strings.TrimSpace(line), "| ")
	if !ok || strings.HasPrefix(line, "---") {
		return nil
	}
	row := strings.Split(strings.TrimSuffix(line, "|"), "|")
	for i := range row {
		row[i] = strings.TrimSpace(row[i])
	}
	return row
}

// TestComparisonIsHeldByTests: each yes of ours on the page has a test that shows it, and
// a figure of speed stands in BENCHMARKS.md as it does there.
func TestComparisonIsHeldByTests(t *testing.T) {
	page, err := os.ReadFile("docs/comparison.md")
	if err != nil {
		t.Fatal(err)
	}
	measured, err := os.ReadFile("BENCHMARKS.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testsOf(t)
	name := regexp.MustCompile("`([^`]+)`")
	features, figures := 0, 0
	for line := range strings.Lines(string(page)) {
		row := cells(line)
		switch {
		case row == nil || strings.Contains(line, "| Foretier |") || row[0] == "workload":
			continue
		case strings.HasPrefix(row[0], "["):
			figures++
			there := strings.ReplaceAll(strings.TrimSpace(line), "](../BENCHMARKS.md#", "](#")
			if !strings.Contains(string(measured), "\n"+there+"\n") {
				t.Errorf("BENCHMARKS.md has other figures than %s", line)
			}
			continue
		}
		features++
		if len(row) != 7 {
			t.Errorf("%d cells, want 7: %s", len(row), line)
			continue
		}
		ours := row[1]
		named := name.FindAllStringSubmatch(ours, -1)
		for _, n := range named {
			if !tests[n[1]] {
				t.Errorf("%s: there is no %s", row[0], n[1])
			}
		}
		word := strings.FieldsFunc(ours, func(c rune) bool { return c == ' ' || c == ',' })[0]
		switch {
		case word != "yes" && word != "no" && word != "part":
			t.Errorf("%s: %q begins with neither yes nor no nor part", row[0], ours)
		case (word == "no") != (len(named) == 0):
			t.Errorf("%s: %q: want a test behind what there is, and none behind what there is not", row[0], ours)
		}
	}
	if features < 50 || figures < 10 {
		t.Errorf("only %d features and %d figures found", features, figures)
	}
}
