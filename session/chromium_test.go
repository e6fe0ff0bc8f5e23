//go:build e2e

package session_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/session"
)

// form is a page that sends itself on.
func form(w http.ResponseWriter, action string) {
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprintf(w, `<!doctype html><form method="post" action="%s"></form><script>document.forms[0].submit()</script>`, action)
}

// TestE2EPaymentReturn lets a real browser log in at a shop, go to another
// site's payment page, and come back by that page's POST, to a handler that
// starts a session and a tier that would pin to another server. The login, the
// cart and the pin must be the old ones afterwards.
func TestE2EPaymentReturn(t *testing.T) {
	chromium := servertest.Require(t, "chromium")
	pins := sticky(t, oneKey, session.StickyOptions{Always: true})
	type seen struct{ login, site, pin, user, cart string }
	returned, last := make(chan seen, 1), make(chan seen, 1)
	look := func(r *http.Request) seen {
		pin, _ := pins.Choose(r)
		login := "without"
		if c, err := r.Cookie("__Host-sid"); err == nil && c.Value != "" {
			login = "with"
		}
		return seen{login: login, site: r.Header.Get("Sec-Fetch-Site"), pin: pin}
	}
	shop := manager(t, session.Memory(), session.Options{}).Handler(script(handlers{
		"/start":    func(w http.ResponseWriter, _ *http.Request, _ *session.Session) { form(w, "/enter") },
		"/checkout": func(w http.ResponseWriter, _ *http.Request, _ *session.Session) { form(w, "https://pay.test/") },
		"/enter": func(w http.ResponseWriter, r *http.Request, s *session.Session) {
			if err := errors.Join(s.Subject("ann"), s.Set("user", "ann"), add(s, "tea")); err != nil {
				t.Errorf("login: %v", err)
			}
			http.Redirect(w, r, "/checkout", http.StatusSeeOther)
		},
		"/return": func(w http.ResponseWriter, r *http.Request, s *session.Session) {
			select {
			case returned <- look(r):
			default:
			}
			_ = s.Set("user", "nobody")
			_ = add(s, "pot")
			http.Redirect(w, r, "/thanks", http.StatusSeeOther)
		},
		"/thanks": func(w http.ResponseWriter, r *http.Request, s *session.Session) {
			now := look(r)
			now.user, _, _ = session.Value[string](s, "user")
			cart, _, err := session.Value[map[string]int](s, "cart")
			now.cart = fmt.Sprint(cart)
			answer(w, "thank you", err)
			select {
			case last <- now:
			default:
			}
		},
	}))
	tier := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		backend, _ := pins.Choose(r)
		switch {
		case backend != "":
		case r.URL.Path == "/return":
			backend = "web2"
		default:
			backend = "web1"
		}
		pins.Bind(w.Header(), r, backend)
		shop.ServeHTTP(w, r)
	})
	shopServer := tlsServer(t, tier)
	payServer := tlsServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { form(w, "https://shop.test/return") }))

	cmd := exec.Command(chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--ignore-certificate-errors", "--user-data-dir="+t.TempDir(),
		"--host-resolver-rules=MAP shop.test:443 "+shopServer+", MAP pay.test:443 "+payServer+", MAP * ~NOTFOUND",
		"--remote-debugging-port=0", "https://shop.test/start")
	var out testkit.Log
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		<-done
	}()
	limit := time.After(60 * time.Second)
	for _, step := range []struct {
		name string
		got  <-chan seen
		want seen
	}{
		{"at the return", returned, seen{login: "without", site: "cross-site", pin: "web1"}},
		{"afterwards", last, seen{login: "with", site: "cross-site", pin: "web1", user: "ann", cart: "map[tea:1]"}},
	} {
		select {
		case got := <-step.got:
			if got != step.want {
				t.Errorf("%s: got %+v, want %+v", step.name, got, step.want)
			}
		case <-limit:
			t.Fatalf("%s: the browser did not come\n%s", step.name, &out)
		}
	}
}

// tlsServer serves h and returns its address.
func tlsServer(t *testing.T, h http.Handler) string {
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // the browser tries other protocols
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}
