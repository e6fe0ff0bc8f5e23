package router_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router"
)

func TestSplit(t *testing.T) {
	var space, cookies string
	arm := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			space, cookies = transit.From(r.Context()).Space, strings.Join(r.Header["Cookie"], "|")
			w.Header().Set("Cache-Control", "public, max-age=60")
			w.Header().Set("Cdn-Cache-Control", "max-age=600")
			w.Header().Set("Foretier-Cache-Control", "max-age=600")
			io.WriteString(w, name)
		})
	}
	s, err := router.NewSplit("try", router.Arm{Name: "now", Weight: 9, To: arm("now")}, router.Arm{Name: "next", Weight: 1, To: arm("next")}, router.Arm{Name: "old", To: arm("old")})
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for i := range 2000 {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = fmt.Sprintf("10.0.%d.%d:1", i/256, i%256)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		name := w.Body.String()
		count[name]++
		if c := w.Result().Cookies(); len(c) != 1 || c[0].Value != name || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Cdn-Cache-Control") != "" || w.Header().Get("Foretier-Cache-Control") != "" {
			t.Fatalf("%s: header %v", name, w.Header())
		}
		again := httptest.NewRecorder()
		s.ServeHTTP(again, r)
		if again.Body.String() != name {
			t.Fatal("the same client without a cookie got another arm")
		}
	}
	if n := count["next"]; n < 140 || n > 260 || count["old"] != 0 {
		t.Errorf("of 2000 visitors: %v, want a tenth for next", count)
	}
	for cookie, want := range map[string]string{"a=1; try=next; b=2": "next try=next; a=1; b=2", "try=old": "old try=old; ", "try=now": "now  ", `try = "old"`: "old try=old; ", strings.Repeat(";", 4000) + "try=old": "old try=old; "} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if got := w.Body.String() + " " + space + " " + cookies; got != want {
			t.Errorf("%s: got %q, want %q", cookie, got, want)
		}
		if w.Header().Get("Set-Cookie") != "" || w.Header().Get("Cache-Control") != "public, max-age=60" {
			t.Errorf("%s: header %v", cookie, w.Header())
		}
		if r.Header.Get("Cookie") != cookie {
			t.Error("the request that came was modified")
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", "try=next")
	if got := s.Explain(r).String(); !strings.HasPrefix(got, "split try: arm next (by its cookie)\n") {
		t.Errorf("Explain: %s", got)
	}
	if len(s.Wraps()) != 3 || !s.Healthy(r) {
		t.Error("the arms cannot be seen")
	}
}

func TestNewSplitRefuses(t *testing.T) {
	to := say("x")
	for name, c := range map[string]struct {
		cookie string
		arms   []router.Arm
	}{
		"no cookie":       {"", []router.Arm{{Name: "a", Weight: 1, To: to}}},
		"no arms":         {"c", nil},
		"no weight":       {"c", []router.Arm{{Name: "a", To: to}}},
		"negative weight": {"c", []router.Arm{{Name: "a", Weight: 2, To: to}, {Name: "b", Weight: -1, To: to}}},
		"two names":       {"c", []router.Arm{{Name: "a", Weight: 1, To: to}, {Name: "a", Weight: 1, To: to}}},
		"a bad name":      {"c", []router.Arm{{Name: "a;b", Weight: 1, To: to}}},
		"no handler":      {"c", []router.Arm{{Name: "a", Weight: 1}}},
	} {
		if _, err := router.NewSplit(c.cookie, c.arms...); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
