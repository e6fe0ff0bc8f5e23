package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/session/redisstore"
)

// TestNothingSecretIsTold: neither what a visitor brings nor what the shop gives them
// stands in the log or on the status page, though servers and the store die meanwhile.
func TestNothingSecretIsTold(t *testing.T) {
	const secret = "s3cr3t"
	server := servertest.Redis(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	var log testkit.Log
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	tour, err := startTour(t.Context(), redisstore.New(client), logger)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tour.end(); err != nil {
			t.Error(err)
		}
	}()
	base, err := url.Parse(tour.base[0])
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{secret}
	v := tour.visitor()
	visit := func() {
		for _, path := range []string{"/", "/cart?sku=1", "/login?user=a", "/cart", "/admin", "/product/1", "/media/logo.png", "/logout"} {
			method := "GET"
			if strings.HasPrefix(path, "/cart?") || strings.HasPrefix(path, "/log") {
				method = "POST"
			}
			_, _ = v.do(method, path, nil) // which fails where servers have died
			for _, c := range v.Jar.Cookies(base) {
				secrets = append(secrets, c.Value)
			}
		}
	}
	visit()
	if len(secrets) < 3 {
		t.Fatalf("the shop has given no cookies: %q", secrets)
	}
	for _, name := range []string{"session", "backend", "sid", "pin"} {
		v.Jar.SetCookies(base, []*http.Cookie{{Name: name, Value: secret}})
	}
	for _, c := range v.Jar.Cookies(base) { // those of the shop's own names, spoiled
		v.Jar.SetCookies(base, []*http.Cookie{{Name: c.Name, Value: c.Value + secret}})
	}
	visit()
	if err := tour.farms[0].web[1].stop(); err != nil {
		t.Fatal(err)
	}
	visit()
	server.Kill()
	visit()
	var told strings.Builder
	for _, path := range []string{"/", "/status.json", "/healthz", "/explain?" + url.Values{"url": {tour.base[0] + "/cart"}, "cookie": {"session=" + secret}}.Encode()} {
		w := httptest.NewRecorder()
		tour.farms[0].page.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost"+path, nil))
		fmt.Fprintln(&told, w.Header(), w.Body)
	}
	for _, secret := range secrets {
		for line := range strings.Lines(log.String() + told.String()) {
			if secret != "" && strings.Contains(line, secret) {
				t.Errorf("%q is told: %s", secret, line)
			}
		}
	}
	log.Wants(t, "target=/cart")
}
