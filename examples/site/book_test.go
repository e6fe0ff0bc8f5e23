//go:build e2e

package site

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// A book is docs/one-to-many.md: the site runs with the lines that it shows. Where these
// name an operator's machines and folders, place puts those of the test.
type book struct {
	t      *testing.T
	blocks []testkit.Block
	used   []bool
	place  []string // pairs of what the page names and what is there
}

func openBook(t *testing.T) *book {
	t.Helper()
	blocks := testkit.Blocks(t, "../../docs/one-to-many.md")
	return &book{t: t, blocks: blocks, used: make([]bool, len(blocks))}
}

// placed is text with what is there in place of what the page names.
func (b *book) placed(text string) string { return strings.NewReplacer(b.place...).Replace(text) }

// block is the one that is headed so, or begins so.
func (b *book) block(begins string) string {
	b.t.Helper()
	for i, block := range b.blocks {
		if !b.used[i] && (strings.HasPrefix(block.Head, begins) || strings.HasPrefix(block.Text, begins)) {
			b.used[i] = true
			return b.placed(block.Text)
		}
	}
	b.t.Fatalf("the page shows nothing more of %s", begins)
	return ""
}

// flags are a program's, as a line of the page starts it.
func (b *book) flags(program string) []string {
	b.t.Helper()
	return strings.Fields(b.block(program + " "))[1:]
}

// settings are the lines of a file of "name value" or "name = value", as arguments. What is
// bound to is the test's to say.
func (b *book) settings(file string) (args []string) {
	b.t.Helper()
	for line := range strings.Lines(b.block(file)) {
		name, value, _ := strings.Cut(strings.ReplaceAll(strings.TrimSpace(line), " = ", " "), " ")
		switch {
		case name == "" || strings.HasPrefix(name, "[") || strings.HasPrefix(name, "bind"):
		case strings.Contains(file, "mysql"):
			args = append(args, "--"+name+"="+value)
		default:
			args = append(args, "--"+name, value)
		}
	}
	return args
}

// environment is what a file exports.
func (b *book) environment(file string) map[string]string {
	b.t.Helper()
	all := make(map[string]string)
	for line := range strings.Lines(b.block(file)) {
		name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		if !ok {
			b.t.Fatalf("%s: %q", file, line)
		}
		all[name] = strings.Trim(value, "'")
	}
	return all
}

// statements are those of SQL on a machine.
func (b *book) statements(machine string) (all []string) {
	b.t.Helper()
	for s := range strings.SplitSeq(b.block("on "+machine), ";") {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// unit writes a unit of systemd's and returns its file, and what it starts.
func (b *book) unit(dir, name string) (file, starts string) {
	b.t.Helper()
	text := b.block("/etc/systemd/system/" + name)
	file = filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
	_, starts, _ = strings.Cut(text, "\nExecStart=")
	starts, _, _ = strings.Cut(starts, "\n")
	return file, starts
}

// units are what systemd takes, and what they start is returned.
func (s *site) units(b *book) (cron, copies string) {
	s.t.Helper()
	var files []string
	for _, name := range []string{"shop-cron.service", "shop-cron.timer", "shop-copy.service", "shop-copy.timer"} {
		file, starts := b.unit(s.dir, name)
		files = append(files, file)
		switch name {
		case "shop-cron.service":
			cron = starts
		case "shop-copy.service":
			copies = starts
		}
	}
	analyze := servertest.Require(s.t, "systemd-analyze")
	if out, err := exec.Command(analyze, append([]string{"verify"}, files...)...).CombinedOutput(); err != nil || len(out) > 0 {
		s.t.Errorf("systemd-analyze: %v: %s", err, out)
	}
	return cron, copies
}

// all reports blocks of the page that no test has taken.
func (b *book) all() {
	b.t.Helper()
	for i, block := range b.blocks {
		if !b.used[i] && block.Kind != "" { // a drawing has no kind
			b.t.Errorf("no test has used what the page shows of %s:\n%s", block.Head, block.Text)
		}
	}
}
