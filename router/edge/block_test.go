package edge_test

import (
	"fmt"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// Whoever is blocked is refused by the next request, with what is answered from the head
// too, and is let in again.
func TestBlock(t *testing.T) {
	log := new(testkit.Log)
	local := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	s := newShop(t, edge.Options{Trusted: local, Logger: log.Logger()}, cache.Options{IgnoreCookies: cache.Analytics()})
	c := testkit.Dial(t, s.srv.Addr().String())
	from := func(client string) string {
		return strings.Replace(fmt.Sprintf(browser, "/1000"), "\r\n\r\n", "\r\nX-Forwarded-For: "+client+"\r\n\r\n", 1)
	}
	s.taught(t, c, from("192.0.2.7"))
	ask := func(client string) (served bool) {
		t.Helper()
		if _, err := c.Write([]byte(from(client))); err != nil {
			t.Fatal(err)
		}
		return strings.HasPrefix(string(readAnswer(t, c)), "version")
	}
	explained := func(client string) string {
		r := httptest.NewRequest("GET", "/1000", nil)
		r.RemoteAddr = "127.0.0.1:1"
		r.Header.Set("X-Forwarded-For", client)
		return s.srv.Explain(r).Verdict
	}
	block := func(list ...string) error {
		var prefixes []netip.Prefix
		for _, p := range list {
			prefixes = append(prefixes, netip.MustParsePrefix(p))
		}
		return s.srv.Block(prefixes)
	}
	if err := block("192.0.2.0/25", "2001:db8::/32"); err != nil {
		t.Fatal(err)
	}
	before := s.instant()
	for client, want := range map[string]bool{"192.0.2.7": false, "192.0.2.200": true, "2001:db8::1": false, "2001:db9::1": true} {
		if got := ask(client); got != want {
			t.Errorf("%s: served: %t", client, got)
		}
		if got := explained(client); (got != "403") != want {
			t.Errorf("%s: explained: %s", client, got)
		}
	}
	if n := s.instant() - before; n != 2 {
		t.Errorf("%d of those who are not blocked were answered from the head", n)
	}
	if n := metric(s.srv.Report(), "requests_blocked_total"); n != 2 {
		t.Errorf("%v were blocked", n)
	}
	log.Wants(t, "level=INFO", "status=403", "client=192.0.2.7", "edge: the client is blocked")
	if err := s.srv.Block(make([]netip.Prefix, 1)); err == nil {
		t.Error("the zero Prefix was taken")
	}
	if ask("192.0.2.7") {
		t.Error("an error has changed something")
	}
	if err := block(); err != nil {
		t.Fatal(err)
	}
	if !ask("192.0.2.7") {
		t.Error("nobody is blocked, and one is not served")
	}
}
