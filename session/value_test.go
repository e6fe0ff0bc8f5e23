package session_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/http"
	"reflect"
	"testing"

	"github.com/foretier/foretier/session"
)

// through sets v, and returns what another request reads as a T.
func through[T any](t *testing.T, v any) (got T, err error) {
	t.Helper()
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
		"/set": func(_ http.ResponseWriter, _ *http.Request, s *session.Session) { err = s.Set("v", v) },
		"/get": func(_ http.ResponseWriter, _ *http.Request, s *session.Session) {
			var ok bool
			var failed error
			if got, ok, failed = session.Value[T](s, "v"); failed != nil || !ok {
				t.Errorf("%v: %t, %v", v, ok, failed)
			}
		},
	})))
	if b.do("POST", "/set"); err == nil {
		b.do("GET", "/get")
	}
	return got, err
}

type loose struct {
	Any  any
	Deep *loose
	Of   map[string][]any
	loosest
}

type loosest struct{ Inner any }

// TestIntegersInInterfaces come back as what they were, beyond 2^53 too, and
// other numbers as the float64 that everybody expects.
func TestIntegersInInterfaces(t *testing.T) {
	const odd = 1<<53 + 1
	cases := map[string]struct{ set, want any }{
		"small":              {7, 7.0},
		"negative":           {-7, -7.0},
		"2^53":               {int64(1 << 53), float64(1 << 53)},
		"2^53+1":             {int64(odd), int64(odd)},
		"-2^53-1":            {int64(-odd), int64(-odd)},
		"a float64 beyond":   {int64(1 << 60), float64(1 << 60)},
		"the largest int64":  {int64(math.MaxInt64), int64(math.MaxInt64)},
		"the smallest":       {int64(math.MinInt64), int64(math.MinInt64)},
		"the largest uint64": {uint64(math.MaxUint64), uint64(math.MaxUint64)},
		"larger":             {new(big.Int).Lsh(big.NewInt(odd), 70), json.Number("10633823966279326984412094863378874368")},
		"a fraction":         {0.1, 0.1},
		"a large float64":    {1e300, 1e300},
		"minus nothing":      {math.Copysign(0, -1), math.Copysign(0, -1)},
		"no number":          {"9007199254740993", "9007199254740993"},
		"nothing":            {nil, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			want := c.want
			if name == "larger" {
				want = json.Number(c.set.(*big.Int).String())
			}
			if got, err := through[any](t, c.set); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("alone: %T %v, %v, want %T %v", got, got, err, want, want)
			}
			m := map[string]any{"id": c.set, "all": []any{map[string]any{"id": c.set}}}
			if got, err := through[map[string]any](t, m); err != nil || !reflect.DeepEqual(got, map[string]any{"id": want, "all": []any{map[string]any{"id": want}}}) {
				t.Errorf("in a map: %v, %v", got, err)
			}
			v := loose{c.set, &loose{Any: c.set}, map[string][]any{"a": {c.set}}, loosest{c.set}}
			if got, err := through[loose](t, v); err != nil || !reflect.DeepEqual(got, loose{want, &loose{Any: want}, map[string][]any{"a": {want}}, loosest{want}}) {
				t.Errorf("in a struct: %+v, %v", got, err)
			}
			if got, err := through[[2]any](t, []any{c.set, 1}); err != nil || !reflect.DeepEqual(got, [2]any{want, 1.0}) {
				t.Errorf("in an array: %v, %v", got, err)
			}
		})
	}
}

// TestUpdateKeepsIntegers: nor is one rounded that an Update does not look at.
func TestUpdateKeepsIntegers(t *testing.T) {
	const odd = int64(1<<53 + 1)
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
		"/set": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			answer(w, "", s.Set("v", map[string]any{"id": odd}))
		},
		"/update": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			answer(w, "", session.Update(s, "v", func(v map[string]any, _ bool) (map[string]any, error) {
				v["seen"] = true
				return v, nil
			}))
		},
		"/get": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			v, _, err := session.Value[map[string]any](s, "v")
			answer(w, fmt.Sprint(v), err)
		},
	})))
	b.do("POST", "/set")
	b.do("POST", "/update")
	if got := body(b.do("GET", "/get")); got != fmt.Sprintf("%q", "map[id:9007199254740993 seen:true]") {
		t.Errorf("got %s", got)
	}
}

type raw string

func (r raw) MarshalJSON() ([]byte, error) { return []byte(`"` + r + `"`), nil }

// TestNotUTF8: what JSON would put U+FFFD in place of is an error, and what only
// looks like it is kept.
func TestNotUTF8(t *testing.T) {
	const bad = "caf\xe9"
	for name, v := range map[string]any{
		"a string":          bad,
		"in a map":          map[string]any{"a": []any{"b", bad}},
		"a map's key":       map[string]int{bad: 1},
		"in a struct":       struct{ A string }{bad},
		"cut in two":        "\u20ac"[:2],
		"a surrogate":       "\xed\xa0\x80",
		"behind a slash":    `\` + bad,
		"after one that is": `\ufffd` + bad,
		"by its own hand":   raw(bad),
	} {
		if _, err := through[any](t, v); !errors.Is(err, session.ErrNotUTF8) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, v := range []string{"", "café", "\ufffd", `\ufffd`, `\\ufffd`, "\\\ufffd", "a\x00b", "\u2028<>&", "\U0001F600"} {
		if got, err := through[string](t, v); err != nil || got != v {
			t.Errorf("%q: %q, %v", v, got, err)
		}
	}
	if got, err := through[[]byte](t, []byte(bad)); err != nil || string(got) != bad {
		t.Errorf("bytes: %q, %v", got, err)
	}
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
		"/": func(_ http.ResponseWriter, _ *http.Request, s *session.Session) {
			for what, err := range map[string]error{
				"Set": s.Set(bad, 1), "Update": session.Update(s, bad, func(int, bool) (int, error) { return 1, nil }),
				"an Update's value": session.Update(s, "a", func(string, bool) (string, error) { return bad, nil }), "Subject": s.Subject(bad),
			} {
				if !errors.Is(err, session.ErrNotUTF8) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if err := s.Delete(bad); err != nil {
				t.Errorf("Delete: %v", err)
			}
		},
	})))
	if w := b.do("POST", "/"); w.Code != http.StatusOK || len(w.Header()["Set-Cookie"]) > 0 {
		t.Errorf("got %d, %v", w.Code, w.Header())
	}
}

// TestValuesAreCopies: Set is what writes.
func TestValuesAreCopies(t *testing.T) {
	b := newBrowser(manager(t, session.Memory(), session.Options{}).Handler(script(map[string]func(http.ResponseWriter, *http.Request, *session.Session){
		"/mutate": func(w http.ResponseWriter, _ *http.Request, s *session.Session) {
			cart := map[string]int{"tea": 1}
			err := s.Set("cart", cart)
			cart["tea"] = 99
			seen, _, _ := session.Value[map[string]int](s, "cart")
			seen["pot"] = 99
			again, _, _ := session.Value[map[string]int](s, "cart")
			answer(w, again, err)
		},
	})))
	for _, path := range []string{"/mutate", "/read"} {
		if got := body(b.do("POST", path)); got != `{"tea":1}` {
			t.Errorf("%s: got %s", path, got)
		}
	}
}
