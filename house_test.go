package foretier

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/foretier/foretier"

// clients are the third-party packages that only some rooms may import: by
// import path prefix, the rooms (with all below them) that may.
var clients = map[string][]string{
	"github.com/go-chi/":               {"router"},
	"github.com/redis/go-redis":        {"session/redisstore", "session/php", "cache/redistier", "balancer/sqlprobe", "router/edge/acme/redisstorage", "router/redislimit", "internal/redisclient", "internal/servertest"},
	"github.com/bradfitz/gomemcache":   {"session/memcachestore", "session/php", "cache/memcachetier"},
	"github.com/prometheus/":           {"health/metrics"},
	"github.com/go-sql-driver/mysql":   {"balancer/sqlprobe"},
	"github.com/jackc/pgx":             {}, // drivers are for session/sqlstore/drivertest, a module of its own
	"modernc.org/":                     {},
	"database/sql":                     {"balancer/sqlprobe", "session/sqlstore"},
	"github.com/pires/go-proxyproto":   {},
	"google.golang.org/grpc":           {},
	"golang.org/x/net/":                {"internal/fields", "internal/http2", "balancer/internal/h2", "router/edge/internal/h2", "internal/servertest"}, // the readers of bytes
	"github.com/alexedwards/scs":       {},
	"github.com/klauspost/compress":    {"cache/codings", "router/compress"}, // so that who compresses nothing links nothing
	"github.com/andybalholm/brotli":    {"cache/codings"},
	"github.com/caddyserver/certmagic": {"router/edge/acme"},
	"go.uber.org/zap":                  {"router/edge/acme"},
	"github.com/quic-go/":              {"router/edge/h3"},
	"github.com/foretier/foretier/ex":  {}, // nobody imports the examples

	"github.com/chromedp/": {"internal/browsertest"},

	module + "/internal/testkit":     {"internal/servertest", "internal/browsertest"}, // but tests
	module + "/internal/servertest":  {"internal/browsertest"},
	module + "/internal/browsertest": {},
}

var features = []string{"balancer", "session", "cache", "router"}

type listed struct {
	ImportPath string
	Imports    []string
}

// TestArrowsPointDown holds the drawing of ARCHITECTURE.md against the code:
// examples above features above health and internal, no feature imports
// another, and a client of a real server only in its adapter.
func TestArrowsPointDown(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for dec := json.NewDecoder(bytes.NewReader(out)); ; seen++ {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		room := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		for _, imp := range p.Imports {
			if why := forbidden(room, imp); why != "" {
				t.Errorf("%s imports %s: %s", p.ImportPath, imp, why)
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d packages seen", seen)
	}
}

// forbidden says why a package in room may not import imp, or "".
func forbidden(room, imp string) string {
	from := floor(room)
	if from == "examples" && !strings.HasPrefix(imp, module+"/examples") {
		return ""
	}
	for prefix, rooms := range clients {
		if strings.HasPrefix(imp, prefix) && !slices.ContainsFunc(rooms, func(r string) bool { return within(room, r) }) {
			return "only " + strings.Join(rooms, ", ") + " may"
		}
	}
	target, ours := strings.CutPrefix(imp, module+"/")
	if !ours {
		return ""
	}
	to := floor(target)
	switch {
	case from == to:
		return ""
	case slices.Contains(features, to) && slices.Contains(features, from):
		return "a feature imports another"
	case slices.Contains(features, to):
		return "the ground floor imports a feature"
	case from == "internal" && to == "health":
		return "internal is below health"
	}
	return ""
}

// TestWhoDoesNotSpeakHTTP3HasNoneOfIt: nothing brings QUIC into a program but package h3.
func TestWhoDoesNotSpeakHTTP3HasNoneOfIt(t *testing.T) {
	args := []string{"list", "-deps", "./router/edge/acme", "./router/edge/h3"}
	with, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	without, err := exec.Command("go", args[:3]...).Output()
	if err != nil {
		t.Fatal(err)
	}
	const quic = "github.com/quic-go/"
	if !bytes.Contains(with, []byte(quic)) || bytes.Contains(without, []byte(quic)) {
		t.Errorf("with package h3 %d of QUIC's packages, without it %d, want none", bytes.Count(with, []byte(quic)), bytes.Count(without, []byte(quic)))
	}
}

func floor(room string) string {
	first, _, _ := strings.Cut(room, "/")
	return first
}

func within(room, r string) bool { return room == r || strings.HasPrefix(room, r+"/") }

func TestForbidden(t *testing.T) {
	cases := []struct {
		room, imp string
		bad       bool
	}{
		{"cache", module + "/balancer", true},
		{"cache/internal/law", module + "/session", true},
		{"cache", module + "/cache/internal/law", false},
		{"cache", module + "/health", false},
		{"health", module + "/internal/transit", false},
		{"health", module + "/cache", true},
		{"internal/transit", module + "/health", true},
		{"internal/servertest", module + "/router", true},
		{"router", "github.com/go-chi/chi/v5", false},
		{"router/edge", "github.com/go-chi/chi/v5/middleware", false},
		{"balancer", "github.com/go-chi/chi/v5", true},
		{"session", "github.com/redis/go-redis/v9", true},
		{"session/redisstore", "github.com/redis/go-redis/v9", false},
		{"cache", "github.com/klauspost/compress/zstd", true},
		{"cache/codings", "github.com/andybalholm/brotli", false},
		{"cache", module + "/examples/shop", true},
		{"cache/cachetest", module + "/internal/testkit", true},
		{"examples/shop", module + "/cache", false},
		{"examples/shop", module + "/examples/gateway", true},
		{"examples/shop", "github.com/redis/go-redis/v9", false},
	}
	for _, c := range cases {
		if why := forbidden(c.room, c.imp); (why != "") != c.bad {
			t.Errorf("%s -> %s: %q, want bad=%t", c.room, c.imp, why, c.bad)
		}
	}
}

// TestExamplesEndAtASecondSignal: the first one lets requests end, and whoever
// sends another does not want to wait for them.
func TestExamplesEndAtASecondSignal(t *testing.T) {
	files, err := filepath.Glob("examples/*/main.go")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "signal.NotifyContext") && !strings.Contains(string(text), "context.AfterFunc(ctx, stop)") {
			t.Errorf("%s goes on catching signals after the first", file)
		}
	}
}

// TestExamplesAreCopiedAsTheyAre: what several examples need stands in each of them,
// since they are there to be copied, and is the same in all.
func TestExamplesAreCopiedAsTheyAre(t *testing.T) {
	files, err := filepath.Glob("examples/*/memory.go")
	if err != nil || len(files) != 3 {
		t.Fatalf("%q, %v", files, err)
	}
	var first []byte
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = text
		}
		if !bytes.Equal(text, first) {
			t.Errorf("%s differs from %s", f, files[0])
		}
	}
}
