package testkit

import (
	"os"
	"strings"
	"testing"
)

// A Block is what a page in Markdown shows of a file or of a program's lines.
type Block struct {
	Kind string // ini, sh, sql ...
	Head string // its first line, if that is a comment: the file's name
	Text string // the rest; lines that are continued are one
}

// Blocks reads the blocks of a page.
func Blocks(tb testing.TB, page string) (all []Block) {
	tb.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		tb.Fatal(err)
	}
	for i, part := range strings.Split("\n"+string(text), "\n```") {
		if i%2 == 0 {
			continue // between two blocks
		}
		kind, body, _ := strings.Cut(part, "\n")
		b := Block{Kind: kind, Text: body + "\n"}
		if first, rest, _ := strings.Cut(b.Text, "\n"); strings.HasPrefix(first, "# ") || strings.HasPrefix(first, "-- ") {
			_, b.Head, _ = strings.Cut(first, " ")
			b.Text = rest
		}
		b.Text = strings.ReplaceAll(b.Text, " \\\n   ", "")
		all = append(all, b)
	}
	if len(all) == 0 {
		tb.Fatalf("%s shows nothing", page)
	}
	return all
}
