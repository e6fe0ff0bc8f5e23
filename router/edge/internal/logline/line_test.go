package logline

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// both returns what slog writes, and what a Line does, if it does not leave it to
// slog.
func both(t *testing.T, json bool, r slog.Record) (want, got string, ok bool) {
	var b bytes.Buffer
	var h slog.Handler = slog.NewTextHandler(&b, nil)
	if json {
		h = slog.NewJSONHandler(&b, nil)
	}
	if err := h.Handle(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	l := Line{JSON: json}
	ok = l.Begin(r.Time, r.Level, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		ok = ok && l.Value(a.Key, a.Value)
		return ok
	})
	l.End()
	return b.String(), string(l.B), ok
}

var texts = []string{
	"", "a", "GET", "shop.example", "/a?b=c", "two words", `"`, `\`, `a\b`, `a \b`, "=", "é", "日本", "\xff", "\xc3", "a\x00b", "\t\n\r\x1b", "\x7f", "a\x7f =",
	"\u2028\u2029", "\ufffd", "\u00a0", "\u200b", "\u00ad", "😀", "<&>'", "a.b", "Mozilla/5.0 (X11; Linux x86_64; rv:120.0)", strings.Repeat("é\xff", 9),
}

func text(r *rand.Rand) string {
	if r.IntN(3) > 0 {
		return texts[r.IntN(len(texts))]
	}
	b := make([]byte, r.IntN(20))
	for i := range b {
		b[i] = byte(r.Uint32())
		if r.IntN(2) == 0 {
			b[i] = ' ' + b[i]%95
		}
	}
	return string(b)
}

type lazy struct{ v slog.Value }

func (l lazy) LogValue() slog.Value { return l.v }

func value(r *rand.Rand, depth int) slog.Value {
	switch r.IntN(10) {
	case 0:
		return slog.Int64Value(int64(r.Uint64()) >> r.IntN(64))
	case 1:
		return slog.Uint64Value(r.Uint64() >> r.IntN(64))
	case 2:
		return slog.BoolValue(r.IntN(2) == 0)
	case 3:
		return slog.DurationValue(time.Duration(r.Uint64()) >> r.IntN(64))
	case 4:
		return slog.TimeValue(moment(r))
	case 5:
		return slog.Float64Value(float64(r.IntN(1e6)) * math.Pow(10, float64(r.IntN(40)-20)))
	case 6:
		if depth > 0 {
			return lazyOr(r, slog.GroupValue(attrs(r, depth-1)...))
		}
	}
	return lazyOr(r, slog.StringValue(text(r)))
}

func lazyOr(r *rand.Rand, v slog.Value) slog.Value {
	if r.IntN(3) == 0 {
		return slog.AnyValue(lazy{v})
	}
	return v
}

func attrs(r *rand.Rand, depth int) (as []slog.Attr) {
	for range r.IntN(5) {
		as = append(as, slog.Attr{Key: text(r), Value: value(r, depth)})
	}
	return as
}

func moment(r *rand.Rand) time.Time {
	places := []*time.Location{time.UTC, time.Local, time.FixedZone("a", 3600), time.FixedZone("b", -12345)}
	t := time.Unix(int64(r.Uint32()), []int64{0, 1e6, 120e6, 999999999, r.Int64N(1e9)}[r.IntN(5)])
	return t.In(places[r.IntN(len(places))])
}

func TestLinesAreSlogs(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	left := 0
	const n = 30_000
	for i := range n {
		rec := slog.NewRecord(moment(r), slog.Level(r.IntN(12)-4), text(r), 0)
		if r.IntN(10) == 0 {
			rec.Time = time.Time{}
		}
		rec.AddAttrs(attrs(r, 3)...)
		want, got, ok := both(t, i%2 == 0, rec)
		if !ok {
			left++
		} else if got != want {
			t.Fatalf("got\n%q\nwant\n%q", got, want)
		}
	}
	if left > n/5 {
		t.Errorf("%d of %d are left to slog", left, n)
	}
}

// TestLinesOfBytes has every byte, and every rune of two and three bytes, alone and
// beside what needs quotes.
func TestLinesOfBytes(t *testing.T) {
	for c := range 0x3100 {
		for _, s := range []string{string(rune(c)), string([]byte{byte(c)}), "a b" + string(rune(c))} {
			for _, json := range []bool{false, true} {
				rec := slog.NewRecord(time.Time{}, 0, s, 0)
				if want, got, ok := both(t, json, rec); !ok || got != want {
					t.Fatalf("got\n%q\nwant\n%q", got, want)
				}
			}
		}
	}
}

func TestSlogWritesTheRest(t *testing.T) {
	for name, v := range map[string]slog.Value{
		"nil": {}, "struct": slog.AnyValue(struct{ A int }{1}), "error": slog.AnyValue(context.Canceled),
		"in a group": slog.GroupValue(slog.Int("a", 1), slog.Any("b", []byte{1})), "year": slog.TimeValue(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)),
	} {
		rec := slog.NewRecord(time.Time{}, 0, "", 0)
		rec.AddAttrs(slog.Attr{Key: "k", Value: v})
		if _, got, ok := both(t, true, rec); ok {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e-7, -1e22} {
		rec := slog.NewRecord(time.Time{}, 0, "", 0)
		rec.AddAttrs(slog.Float64("k", f))
		if _, got, ok := both(t, true, rec); ok {
			t.Errorf("%g: %q", f, got)
		}
		if want, got, ok := both(t, false, rec); !ok || got != want {
			t.Errorf("%g: %q, want %q", f, got, want)
		}
	}
}

// TestSeconds: a time to the microsecond is the float that it would be.
func TestSeconds(t *testing.T) {
	check := func(d time.Duration) {
		rec := slog.NewRecord(time.Time{}, 0, "", 0)
		rec.AddAttrs(slog.Float64("k", d.Round(time.Microsecond).Seconds()))
		for _, json := range []bool{false, true} {
			want, _, _ := both(t, json, rec)
			l := Line{JSON: json}
			l.Begin(time.Time{}, 0, "")
			l.Seconds("k", d)
			l.End()
			if string(l.B) != want {
				t.Fatalf("%s: got %q, want %q", d, l.B, want)
			}
		}
	}
	for us := range 3000 {
		check(time.Duration(us) * time.Microsecond)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 50_000 {
		check(time.Duration(r.Int64N(1e12)) >> r.IntN(30))
	}
	check(-time.Second)
	check(time.Hour * 1e5)
}

func TestLinesAllocateNothing(t *testing.T) {
	l := Line{B: make([]byte, 0, 1000)}
	now := time.Now()
	if n := testing.AllocsPerRun(100, func() {
		for _, l.JSON = range []bool{false, true} {
			l.Reset()
			l.Begin(now, slog.LevelInfo, "request")
			l.String("agent", "Mozilla/5.0 (X11)")
			l.String("odd", "\xff\"")
			l.Seconds("took_s", 123*time.Microsecond)
			l.End()
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLine(b *testing.B) {
	now := time.Now()
	for _, json := range []bool{false, true} {
		b.Run(map[bool]string{false: "text", true: "json"}[json], func(b *testing.B) {
			l := Line{JSON: json}
			for b.Loop() {
				l.Reset()
				l.Begin(now, slog.LevelInfo, "request")
				l.String("id", "0123456789abcdef")
				l.String("client", "192.0.2.1")
				l.String("method", "GET")
				l.String("scheme", "https")
				l.String("host", "shop.example")
				l.String("target", "/product/7?color=red")
				l.String("proto", "HTTP/1.1")
				l.Int("status", 200)
				l.Int("bytes", 10240)
				l.Seconds("took_s", 123*time.Microsecond)
				l.String("agent", "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0")
				l.End()
			}
		})
	}
}
