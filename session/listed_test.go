package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/session"
)

// devices is app with what a page of one's devices needs.
func devices(m *session.Manager) http.Handler {
	mux := remembering().(*http.ServeMux)
	mux.HandleFunc("/name", func(w http.ResponseWriter, r *http.Request) {
		answer(w, "", session.From(r.Context()).Set("device", r.FormValue("as")))
	})
	mux.HandleFunc("/devices", func(w http.ResponseWriter, r *http.Request) {
		all, err := m.Sessions(r.Context(), r.FormValue("of"))
		var names []string
		for _, l := range all {
			name, _, failed := session.Value[string](l, "device")
			if err = errors.Join(err, failed); l.Is(session.From(r.Context())) {
				name += "*"
			}
			names = append(names, name)
		}
		answer(w, strings.Join(names, " "), err)
	})
	return m.Handler(mux)
}

// named returns the id of the subject's session on a device.
func named(t *testing.T, m *session.Manager, subject, device string) string {
	t.Helper()
	all, err := m.Sessions(t.Context(), subject)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		if name, _, _ := session.Value[string](l, "device"); name == device {
			return l.ID
		}
	}
	t.Fatalf("%s has no %s: %v", subject, device, all)
	return ""
}

// TestListed: a subject's sessions are listed on all machines, one of them can be
// ended, and the others go on.
func TestListed(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() session.Store) {
		m := manager(t, open(), session.Options{Listed: true})
		other := manager(t, open(), session.Options{Listed: true})
		h := devices(m)
		login := func(user, device string) *browser {
			b := newBrowser(h)
			b.do("POST", "/login?user="+user)
			b.do("POST", "/name?as="+device)
			return b
		}
		phone, laptop, thief := login("ann", "phone"), login("ann", "laptop"), login("eve", "thief")
		lists := func(b *browser, want string) {
			t.Helper()
			if got := body(b.do("GET", "/devices?of=ann")); got != fmt.Sprintf("%q", want) {
				t.Errorf("lists %s, want %q", got, want)
			}
		}
		lists(phone, "laptop phone*")
		lists(laptop, "laptop* phone")
		lists(newBrowser(h), "laptop phone")
		if all, err := other.Sessions(t.Context(), "nobody"); err != nil || len(all) > 0 {
			t.Errorf("nobody's: %v, %v", all, err)
		}

		id := named(t, other, "ann", "phone")
		for what, err := range map[string]error{
			"another's":    other.End(t.Context(), "eve", id),
			"nobody's":     other.End(t.Context(), "", id),
			"a guess":      other.End(t.Context(), "ann", strings.Repeat("a", 43)),
			"10,000 bytes": other.End(t.Context(), "ann", strings.Repeat("a", 10_000)),
			"no id":        other.End(t.Context(), "ann", "u-../../\x00"),
		} {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		lists(phone, "laptop phone*")
		if err := other.End(t.Context(), "ann", id); err != nil {
			t.Fatal(err)
		}
		if err := m.End(t.Context(), "ann", id); err != nil {
			t.Errorf("again: %v", err)
		}
		lists(laptop, "laptop*")
		if got := body(phone.do("GET", "/whoami")); got != `""` {
			t.Errorf("ended: %s", got)
		}
		if phone.do("POST", "/name?as=again"); body(laptop.do("GET", "/devices?of=ann")) != `"laptop*"` {
			t.Error("what was ended came back")
		}
		laptop.do("POST", "/renew")
		lists(laptop, "laptop*")
		if got := body(thief.do("GET", "/whoami")); got != `"eve"` {
			t.Errorf("another subject: %s", got)
		}
		laptop.do("POST", "/logout")
		lists(newBrowser(h), "")
		login("ann", "phone")
		if err := other.Revoke(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		lists(newBrowser(h), "")
	})
}

// TestListedManyLogins: logins at once are all listed, the latest of more than fit, and
// what has ended makes room first.
func TestListedManyLogins(t *testing.T) {
	onEachStore(t, func(t *testing.T, open func() session.Store) {
		m := manager(t, open(), session.Options{Listed: true, Timeout: 10 * time.Second})
		h := devices(m)
		const at = 10
		var wg sync.WaitGroup
		for range at {
			wg.Go(func() {
				if w := newBrowser(h).do("POST", "/login?user=ann"); w.Code != http.StatusOK {
					t.Errorf("login: %d", w.Code)
				}
			})
		}
		wg.Wait()
		count := func(want int) {
			t.Helper()
			if all, err := m.Sessions(t.Context(), "ann"); err != nil || len(all) != want {
				t.Errorf("%d listed, %v, want %d", len(all), err, want)
			}
		}
		count(at)
		kept := newBrowser(h)
		kept.do("POST", "/login?user=ann")
		for range 130 { // of which only the last goes on
			kept.do("POST", "/renew")
		}
		count(at + 1)
		for range 150 {
			newBrowser(h).do("POST", "/login?user=ann")
		}
		count(100)
		if all, err := m.Sessions(t.Context(), "ann"); err != nil || all[0].Is(nil) || !slices.IsSortedFunc(all, func(a, b session.Listed) int { return b.Begun.Compare(a.Begun) }) {
			t.Errorf("not the latest first: %v", err)
		}
	})
}

// TestListedFor: a list stands for as long as a session in it, and costs what it says.
func TestListedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFake()
		m := manager(t, store, session.Options{Listed: true})
		h := devices(m)
		b := newBrowser(h)
		for _, step := range []struct {
			path string
			want []string
		}{
			{"/add?sku=tea", []string{"create"}},
			{"/enter?user=ann&remember=1", []string{"load", "load", "load", "create", "create", "update"}},
			{"/add?sku=tea", []string{"load", "update"}},
			{"/renew", []string{"load", "load", "update", "create", "update"}},
		} {
			store.taken()
			b.do("POST", step.path)
			if got := store.taken(); !slices.Equal(got, step.want) {
				t.Errorf("%s: calls %v, want %v", step.path, got, step.want)
			}
		}
		begun := time.Now()
		newBrowser(h).do("POST", "/login?user=ann")
		time.Sleep(29 * 24 * time.Hour)
		all, err := m.Sessions(t.Context(), "ann")
		if err != nil || len(all) != 1 || !all[0].Remembered || !all[0].Begun.Equal(begun.Truncate(time.Second)) || !all[0].Expires.Equal(begun.Add(30*24*time.Hour)) {
			t.Errorf("a month later: %+v, %v", all, err)
		}
	})
}

// TestAFullListIsLookedAtSeldom: whoever logs in again and again, and never out, does not
// have all of their sessions loaded each time.
func TestAFullListIsLookedAtSeldom(t *testing.T) {
	store := newFake()
	m := manager(t, store, session.Options{Listed: true})
	h := devices(m)
	most, before := 0, 0
	for range 300 {
		store.taken()
		newBrowser(h).do("POST", "/login?user=ann")
		n := len(store.taken())
		most = max(most, n)
		if n > 4 {
			before++
		}
	}
	if most != 5 || before > 300/25 {
		t.Errorf("%d calls at most, more than usual at %d of 300 logins", most, before)
	}
}

// TestListedFails: without a list nobody logs in unseen; what cannot be read is left,
// and hinders nobody.
func TestListedFails(t *testing.T) {
	store := newFake()
	m := manager(t, store, session.Options{Listed: true})
	h := devices(m)
	b := newBrowser(h)
	b.do("POST", "/login?user=ann")
	broken := errors.New("broken pipe")
	store.before = func(_ context.Context, call, key string) error {
		if strings.HasPrefix(key, "i-") {
			return broken
		}
		return nil
	}
	if w := newBrowser(h).do("POST", "/login?user=ann"); w.Code != http.StatusServiceUnavailable || len(w.Result().Cookies()) > 0 {
		t.Errorf("a login: %d", w.Code)
	}
	if _, err := m.Sessions(t.Context(), "ann"); !errors.Is(err, broken) {
		t.Errorf("a list: %v", err)
	}
	broken = session.ErrUnreadable
	if w := newBrowser(h).do("POST", "/login?user=ann"); w.Code != http.StatusOK {
		t.Errorf("a login: %d", w.Code)
	}
	if _, err := m.Sessions(t.Context(), "ann"); !errors.Is(err, session.ErrUnreadable) {
		t.Errorf("a list: %v", err)
	}
	store.before = nil
	if all, err := m.Sessions(t.Context(), "ann"); err != nil || len(all) != 1 {
		t.Errorf("afterwards: %v, %v", all, err)
	}
	if _, err := manager(t, store, session.Options{}).Sessions(t.Context(), "ann"); err == nil || !strings.Contains(err.Error(), "Options.Listed") {
		t.Errorf("without the option: %v", err)
	}
}

// TestAnEndBeatsARenewal: a session that is renewed while it is ended is ended as well,
// whichever comes first.
func TestAnEndBeatsARenewal(t *testing.T) {
	store := newFake()
	m := manager(t, store, session.Options{Listed: true})
	b := newBrowser(devices(m))
	b.do("POST", "/login?user=ann")
	b.do("POST", "/name?as=phone")
	id := named(t, m, "ann", "phone")
	renewals := 0
	store.before = func(_ context.Context, call, _ string) error {
		if call == "update" { // the tombstone, which comes too late
			store.before = nil
			renewals++
			b.do("POST", "/renew")
		}
		return nil
	}
	if err := m.End(t.Context(), "ann", id); err != nil {
		t.Fatal(err)
	}
	if got := body(b.do("GET", "/whoami")); renewals != 1 || got != `""` {
		t.Errorf("after an end, and %d renewals under it: %s", renewals, got)
	}
	if all, err := m.Sessions(t.Context(), "ann"); err != nil || len(all) != 0 {
		t.Errorf("listed: %v, %v", all, err)
	}
}
