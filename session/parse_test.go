package session

import (
	"bytes"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/fields"
)

// FuzzTicket: what is read from a cookie is what would be written into it, and
// makes a key that every store takes.
func FuzzTicket(f *testing.F) {
	now := time.Unix(1_700_000_000, 0)
	f.Add(newTicket(now, "").String())
	f.Add(newTicket(now, subjectTag("sid", "ann")).String())
	f.Add("short")
	f.Add("..")
	f.Fuzz(func(t *testing.T, value string) {
		ticket, ok := parseTicket(value)
		if ok != (ticket.id != "") {
			t.Fatalf("ok is %t, id %q", ok, ticket.id)
		}
		if !ok {
			return
		}
		if ticket.String() != value {
			t.Errorf("%q was read as %q", value, ticket)
		}
		if key := ticket.key("sid"); len(key) > 64 || !isBase64URL(key) {
			t.Errorf("key %q", key)
		}
		_ = ticket.issued()
	})
}

// FuzzSeal: no cookie opens but those that were made with the key, and each of
// them to what was put in.
func FuzzSeal(f *testing.F) {
	s := newSeal("route", bytes.Repeat([]byte("k"), minKey), nil)
	now := time.Unix(1_700_000_000, 0)
	made := s.close(pin{"web1", now, now})
	f.Add(made, "web1")
	f.Add(made[:len(made)-1], "")
	f.Add(made[:8]+"\n"+made[8:], "")
	f.Add("", "a\x00b")
	f.Fuzz(func(t *testing.T, value, backend string) {
		if p, sent := s.open(value); sent != pinInvalid && s.close(p) != value {
			t.Errorf("%q opened as %+v, whose cookie is another", value, p)
		}
		if backend == "" || len(backend) > 500 {
			return
		}
		p, sent := s.open(s.close(pin{backend, now, now}))
		if sent != pinGood || p.backend != backend || !p.issued.Equal(now) || !p.seen.Equal(now) {
			t.Errorf("%q came out as %+v, %v", backend, p, sent)
		}
	})
}

// FuzzPosers: dropping what poses as a name leaves nothing that does, and keeps
// the name itself.
func FuzzPosers(f *testing.F) {
	for _, seed := range []string{"..Host-sid=1", "a=1; %5F_Host-sid=2; b=3", " [", "=;=;", "__Host-sid=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		const name = "__Host-sid"
		h := map[string][]string{"Cookie": {line}}
		_, before := fields.Cookie(h, name)
		out := withoutPosers(h, name)
		if hasPoser(out, name) {
			t.Errorf("%q: left %q", line, out["Cookie"])
		}
		if _, after := fields.Cookie(out, name); after != before {
			t.Errorf("%q: %d of ours before, %d after", line, before, after)
		}
	})
}
