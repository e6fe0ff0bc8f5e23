package edge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/edge/internal/memo"
)

type noted struct{ v any }

func (n noted) LogValue() slog.Value { return slog.AnyValue(n.v) }

// someAccess returns what a request's line could say.
func someAccess(r *rand.Rand) *access {
	pick := func(texts ...string) string { return texts[r.IntN(len(texts))] }
	text := func() string {
		return pick("", "/a?b=c", "Mozilla/5.0 (X11)", "\xff\"\\", strings.Repeat("é", 150), "a b", "\u2028", strings.Repeat("x", 300))
	}
	a := &access{
		began: time.Unix(r.Int64N(1<<32), r.Int64N(1e9)), took: time.Duration(r.Int64N(1e12)) >> r.IntN(40),
		id:     identify(pick("", "a:b=c"), true),
		client: []netip.Addr{{}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1%a b")}[r.IntN(4)],
		method: pick("GET", "PURGE", "A=B"), scheme: pick("http", "https"), host: text(), target: text(), proto: pick("HTTP/1.1", "HTTP/2.0", ""),
		status: r.IntN(1000), bytes: r.Int64N(1 << 40), referer: text(), agent: text(),
		aborted: r.IntN(5) == 0, gone: r.IntN(5) == 0, lent: r.IntN(2) == 0,
	}
	if r.IntN(3) == 0 {
		a.cause = errors.New(text())
	}
	if r.IntN(2) == 0 {
		a.notes = []memo.Note{{Part: "rule", Value: slog.StringValue("shop")}, {Part: "cache", Value: slog.StringValue(text())}}
	} else {
		a.record = new(transit.Record)
		a.record.Note("rule", noted{text()})
		a.record.Note("pool", noted{slog.GroupValue(slog.String("to", text()), slog.Int("tries", 2))})
		if r.IntN(4) == 0 {
			a.record.Note("other", noted{struct{ A int }{1}}) // which only slog knows how to write
		}
	}
	return a
}

// TestAccessLinesAreSlogs: whoever writes a request's line, it is the same.
func TestAccessLinesAreSlogs(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, json := range []bool{false, true} {
		var want, got bytes.Buffer
		h := NewLogHandler(&got, LogOptions{JSON: json, Level: slog.LevelWarn})
		var std slog.Handler = slog.NewTextHandler(&want, &slog.HandlerOptions{Level: slog.LevelWarn})
		if json {
			std = slog.NewJSONHandler(&want, &slog.HandlerOptions{Level: slog.LevelWarn})
		}
		with := []slog.Attr{slog.String("tier", "a b"), slog.Group("at", slog.Int("n", 1))}
		for name, pair := range map[string][2]slog.Handler{
			"bare":  {h, std},
			"with":  {h.WithAttrs(with[:1]).WithAttrs(with), std.WithAttrs(with[:1]).WithAttrs(with)},
			"group": {h.WithGroup("g").WithAttrs(with), std.WithGroup("g").WithAttrs(with)},
			"odd":   {h.WithAttrs([]slog.Attr{slog.Any("a", 1i)}), std.WithAttrs([]slog.Attr{slog.Any("a", 1i)})},
		} {
			ours, theirs := server(t, pair[0]), server(t, pair[1])
			if direct := name == "bare" || name == "with"; direct != (ours.plain != nil) {
				t.Errorf("%s: direct %t", name, !direct)
			}
			for i := range 2000 {
				a := someAccess(r)
				ours.log(context.Background(), a)
				theirs.log(context.Background(), a)
				if i%2 == 0 { // and any other
					rec := slog.NewRecord(a.began, slog.LevelWarn, a.agent, 0)
					rec.AddAttrs(slog.String("host", a.host), slog.Duration("took", a.took), slog.Any("cause", a.cause))
					_ = pair[0].Handle(context.Background(), rec)
					_ = pair[1].Handle(context.Background(), rec)
				}
				if got.String() != want.String() {
					t.Fatalf("%s: got\n%s\nwant\n%s", name, got.String(), want.String())
				}
				got.Reset()
				want.Reset()
			}
		}
	}
}

func server(tb testing.TB, h slog.Handler) *Server {
	s, err := New(http.NotFoundHandler(), Options{Addr: "127.0.0.1:0", Logger: slog.New(h)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// TestAccessLinesTakeNoMemory of their own, in any form.
func TestAccessLinesTakeNoMemory(t *testing.T) {
	lost := 0.0 // by pools
	if testkit.PoolsLose() {
		lost = 4
	}
	rec := new(transit.Record)
	rec.Note("rule", noted{"shop"})
	rec.Note("cache", noted{"hit"})
	for name, opts := range map[string]Options{
		"text":     {Logger: slog.New(NewLogHandler(io.Discard, LogOptions{}))},
		"json":     {Logger: slog.New(NewLogHandler(io.Discard, LogOptions{JSON: true}))},
		"combined": {Combined: io.Discard},
	} {
		opts.Addr = "127.0.0.1:0"
		s, err := New(http.NotFoundHandler(), opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		r := httptest.NewRequest("GET", "/a", nil)
		r.Header.Set("User-Agent", "Mozilla/5.0 (X11)")
		ex, now := new(exchange), time.Now()
		if n := testing.AllocsPerRun(1000, func() {
			line := accessOf(ex, r, rec, 200)
			line.began, line.took = now, time.Millisecond
			s.log(s.base, &line)
		}); n > lost {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func ExampleNewLogHandler() {
	var out bytes.Buffer
	lines := NewLogWriter(&out, nil) // os.Stderr, as a rule
	log := slog.New(NewLogHandler(lines, LogOptions{}))
	log.Info("at work", "part", "shop")
	lines.Close()
	_, rest, _ := strings.Cut(out.String(), " ")
	fmt.Print(rest)
	// Output: level=INFO msg="at work" part=shop
}
