package php_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/session/php"
)

var discard = slog.New(slog.DiscardHandler)

// one is a source with one session.
type one struct {
	data string
	err  error
	read int
}

func (o *one) Read(context.Context, string) ([]byte, error) {
	o.read++
	return []byte(o.data), o.err
}

func TestHas(t *testing.T) {
	cases := map[string]struct {
		cookies []string
		data    string
		err     error
		want    bool
		read    int
	}{
		"no cookie":               {nil, "", nil, false, 0},
		"no session":              {[]string{sid}, "", php.ErrNotFound, false, 1},
		"an empty session":        {[]string{sid}, "", nil, false, 1},
		"a stranger":              {[]string{sid}, "user|N;", nil, false, 1},
		"a user":                  {[]string{sid}, "user|i:1;", nil, true, 1},
		"garbage":                 {[]string{sid}, "\x00\x00\x00\x02garbage", nil, true, 1},
		"a store that fails":      {[]string{sid}, "", errors.New("refused"), true, 1},
		"two cookies":             {[]string{sid, sid}, "", nil, true, 0},
		"an encoded comma":        {[]string{strings.ReplaceAll(sid, ",", "%2C")}, "user|i:1;", nil, true, 1},
		"half an escape":          {[]string{strings.Repeat("a", 30) + "%2"}, "", nil, true, 0},
		"an id in quotes":         {[]string{`"` + sid + `"`}, "", nil, true, 0},
		"a byte net/http refuses": {[]string{sid + "\\"}, "", nil, true, 0},
		"a short id":              {[]string{"short"}, "", nil, true, 0},
		"an id with other bytes":  {[]string{strings.Repeat("a", 30) + "*"}, "", nil, true, 0},
		"a very long id":          {[]string{strings.Repeat("a", 257)}, "", nil, true, 0},
		"the longest id":          {[]string{strings.Repeat("a", 256)}, "user|i:1;", nil, true, 1},
		"a session cut in half":   {[]string{sid}, "other|i:1;user|i:", nil, true, 1},
		"a key that is not there": {[]string{sid}, "other|i:1;", nil, false, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			source := &one{data: c.data, err: c.err}
			r := httptest.NewRequest("GET", "/", nil)
			for _, id := range c.cookies {
				r.Header.Add("Cookie", "PHPSESSID="+id)
			}
			if got := reader(t, source).Has("user")(r); got != c.want || source.read != c.read {
				t.Errorf("got %t after %d reads, want %t after %d", got, source.read, c.want, c.read)
			}
		})
	}
}

func TestNewSaysWhatIsWrong(t *testing.T) {
	if _, err := php.New(nil, php.Options{}); err == nil {
		t.Error("no source: no error")
	}
	if _, err := php.New(&one{}, php.Options{Timeout: -1}); err == nil {
		t.Error("a negative timeout: no error")
	}
	for _, servers := range [][]string{nil, {"localhost"}} {
		if _, err := php.Memcached(servers...); err == nil {
			t.Errorf("memcached servers %q: no error", servers)
		}
	}
}

// TestManyTroubles: visitors whose sessions are each broken in their own way,
// amid a store that fails, are told of once a minute, and the store too.
func TestManyTroubles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		source := new(one)
		p, err := php.New(source, php.Options{Logger: slog.New(slog.NewTextHandler(&b, nil))})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 120 { // a second each
			source.data, source.err = strings.Repeat("x", i+1), nil
			p.Has("user")(visitor(sid))
			if i%30 == 0 {
				source.err = fmt.Errorf("read tcp 127.0.0.1:%d: reset", 40000+i)
				p.Has("user")(visitor(sid))
			}
			time.Sleep(time.Second)
		}
		if n := strings.Count(b.String(), "\n"); n != 4 {
			t.Errorf("%d lines: %s", n, &b)
		}
	})
}

// TestWarnings: the same trouble is told once.
func TestWarnings(t *testing.T) {
	var b bytes.Buffer
	p, err := php.New(&one{data: "garbage"}, php.Options{Cookie: "sid", Logger: slog.New(slog.NewTextHandler(&b, nil))})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", "sid="+sid)
	for range 3 {
		if _, err := p.Peek(r); !errors.Is(err, php.ErrEncoding) {
			t.Errorf("got %v", err)
		}
	}
	if n := strings.Count(b.String(), "\n"); n != 1 {
		t.Errorf("%d lines: %s", n, &b)
	}
}

func TestDecodeLimits(t *testing.T) {
	deep := "a|" + strings.Repeat("a:1:{i:0;", 70) + "N;" + strings.Repeat("}", 70)
	many := "a|a:60000:{" + strings.Repeat("i:0;N;", 60000) + "}"
	for name, data := range map[string]string{
		"too deep":              deep,
		"too many":              many,
		"a length that lies":    `a|s:99:"x";`,
		"a huge length":         `a|s:99999999999999999999:"x";`,
		"a count that lies":     `a|a:2:{i:0;N;}`,
		"a huge count":          `a|a:2147483647:{}`,
		"a negative count":      `a|a:-1:{}`,
		"no end":                `a|i:1`,
		"an unknown kind":       `a|x:1;`,
		"a float as key":        `a|a:1:{d:1;N;}`,
		"no name":               `a:b`,
		"bytes after the end":   "a:0:{}x",
		"a boolean that is not": `a|b:2;`,
		"a custom that lies":    `a|C:1:"X":99:{x}`,
	} {
		if v, err := php.Decode([]byte(data)); !errors.Is(err, php.ErrEncoding) {
			t.Errorf("%s: got %.80v, %v", name, v, err)
		}
	}
	for data, path := range map[string]string{
		`c|C:1:"X":4:{a;}b}d|i:1;`: "d",
		"a:1:{s:1:\"x\";b:1;}":     "x",
		"|i:5;":                    "",
		`x|O:1:"X":1:{s:4:"` + "\x00*\x00" + `p";i:1;}`: "x/p",
	} {
		if v, err := php.Decode([]byte(data)); err != nil || !v.Has(path) {
			t.Errorf("%q: got %v, %v", data, v, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"", "user|i:1;", "a|s:3:\"x;y\";b|a:1:{i:0;b:1;}", "a:1:{s:1:\"a\";d:0.5;}", "\x04usera:0:{}", "b|N;",
		`o|O:8:"stdClass":1:{s:1:"a";r:1;}e|E:4:"A:bb";c|C:1:"X":1:{x}`, "\x00\x00\x00\x02\x14",
		"\x00\x00\x00\x02\x14\x02\x11\x04user\x06\x2a\x11\x01a\x17\x01S\x27\x0e\x00", "\x00\x00\x00\x02\x14\x01\x06\x00\x25\x01\x01",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := php.Decode(data)
		if err != nil && (v != nil || !errors.Is(err, php.ErrEncoding)) {
			t.Errorf("got %v, %v", v, err)
		}
		v.Has("user")
		v.Has("a/b/0")
	})
}

// slow is a source that answers when it is asked to stop.
type slow struct{}

func (slow) Read(ctx context.Context, _ string) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestTimeout: 100 ms by default, after which a visitor counts as logged in;
// and when too many looks have failed, at once.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := php.New(slow{}, php.Options{Logger: discard})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		for i, want := range map[int]time.Duration{0: 100 * time.Millisecond, 1: 100 * time.Millisecond} {
			start := time.Now()
			if !p.Has("user")(visitor(sid)) || time.Since(start) != want {
				t.Errorf("look %d: took %v, want %v", i, time.Since(start), want)
			}
		}
		for range 20 {
			p.Has("user")(visitor(sid))
		}
		start := time.Now()
		if !p.Has("user")(visitor(sid)) || time.Since(start) != 0 || p.Report().State != health.Degraded {
			t.Errorf("took %v, %+v", time.Since(start), p.Report())
		}
	})
}
