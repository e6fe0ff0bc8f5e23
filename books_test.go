package foretier

import (
	"encoding/json"
	"fmt"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A book says how a peer's lines are said here: docs/from-nginx.md and its like.
type book struct {
	peer     string // as its blocks are marked
	file     string
	chapters []chapter // the first is what stands before all others
}

// A chapter has the peer's lines, ours, and requests that are answered alike.
type chapter struct {
	title, theirs, ours string
	requests            []string
}

// books are those that there are.
func books(t *testing.T) (all []book) {
	t.Helper()
	for _, b := range []book{{peer: "nginx"}, {peer: "haproxy"}, {peer: "vcl"}} {
		b.file = "docs/from-" + b.peer + ".md"
		b.read(t)
		all = append(all, b)
	}
	return all
}

// read reads its chapters.
func (b *book) read(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(b.file)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(text), "\n## ")[1:] {
		title, rest, _ := strings.Cut(part, "\n")
		c := chapter{title: title}
		for _, block := range strings.Split("\n"+rest, "\n```")[1:] {
			kind, body, _ := strings.Cut(block, "\n")
			switch kind {
			case b.peer:
				c.theirs += body + "\n"
			case "go":
				c.ours += body + "\n"
			case "http":
				c.requests = append(c.requests, strings.Split(strings.TrimSpace(body), "\n")...)
			}
		}
		if c.theirs == "" || c.ours == "" {
			t.Errorf("%s: %s: want a block of %s and one of Go", b.file, title, b.peer)
		}
		b.chapters = append(b.chapters, c)
	}
	if len(b.chapters) < 6 {
		t.Errorf("%s: only %d chapters found", b.file, len(b.chapters))
	}
}

// program is the Go of a book as a program: it serves each chapter's front at a port of its
// own, which it prints, in their order.
func (b *book) program() string {
	var p strings.Builder
	p.WriteString(bookPrelude)
	for i, c := range b.chapters[1:] {
		opts := "edge.Options{}"
		if strings.Contains(c.ours, "opts := edge.Options{") {
			opts = "opts"
		}
		fmt.Fprintf(&p, "\nfunc chapter%d() (http.Handler, edge.Options) { // %s\n%s\n_, _ = origin, apps\n%s\nreturn front, %s\n}\n",
			i, c.title, b.chapters[0].ours, c.ours, opts)
	}
	p.WriteString("\nvar chapters = []func() (http.Handler, edge.Options){\n")
	for i := range b.chapters[1:] {
		fmt.Fprintf(&p, "chapter%d,\n", i)
	}
	p.WriteString("}\n")
	return p.String()
}

// bookPrelude is what stands around the chapters.
const bookPrelude = `package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/esi"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/compress"
	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/session"
)

// What a chapter may use.
var (
	_ = io.WriteString
	_ = os.ReadFile
	_ = strings.Cut
	_ = netip.MustParsePrefix
	_ = time.Minute
	_ = cache.New
	_ = esi.New
	_ = health.HTTP
	_ = router.New
	_ = compress.New
	_ = session.NewSticky
	_ = balancer.New
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func main() {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	var all sync.WaitGroup
	for _, chapter := range chapters {
		front, opts := chapter()
		opts.Addr, opts.Linger = "127.0.0.1:0", -1
		srv := must(edge.New(front, opts))
		fmt.Println(srv.Addr())
		all.Go(func() { must(0, srv.Run(context.Background())) })
	}
	all.Wait()
}
`

// run runs the go command on the book's program, as if that were one of this module's.
func (b *book) run(t *testing.T, source, command string, args ...string) {
	t.Helper()
	dir := t.TempDir()
	if tidy, err := format.Source([]byte(source)); err == nil {
		source = string(tidy) // so that errors name lines that can be read
	}
	main := filepath.Join(dir, "main.go")
	if err := os.WriteFile(main, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(here, "docs/book/main.go"): main}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	args = append([]string{command, "-overlay", filepath.Join(dir, "overlay.json")}, append(args, "./docs/book")...)
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s%s", b.file, err, out, named(source, string(out)))
	}
}

// named are the lines of a source that the compiler's errors name.
func named(source, errors string) string {
	var b strings.Builder
	for i, line := range strings.Split(source, "\n") {
		if strings.Contains(errors, fmt.Sprintf("main.go:%d:", i+1)) {
			fmt.Fprintf(&b, "%d: %s\n", i+1, line)
		}
	}
	return b.String()
}

// TestBooksCompile: what the books show in Go is Go. That it does what the peer's lines
// do is seen by TestE2EBooks.
func TestBooksCompile(t *testing.T) {
	for _, b := range books(t) {
		b.run(t, strings.Replace(b.program(), "package main", "package book", 1), "build") // which links nothing
	}
}
