package main

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// secret is part of whatever is nobody's to know here.
const secret = "s3cr3t"

// TestNothingSecretIsTold: what clients and backends keep to themselves, cookies, ids of
// sessions, passwords, what bodies hold, stands in no line of the log, not at the least
// level either, on no page of the status server and in no answer of the tier's own,
// whatever goes wrong. What is on its way goes on: the targets of requests, with their
// queries, and Referer are in the log, and headers reach whom they are for.
func TestNothingSecretIsTold(t *testing.T) {
	store := servertest.Redis(t, "--requirepass", secret)
	client := redis.NewClient(&redis.Options{Addr: store.Addr, Password: secret})
	defer client.Close()
	const id, broken, wrong = secret + "aaaaaaaaaaaaaaaaaaaa", secret + "bbbbbbbbbbbbbbbbbbbb", secret + "cccccccccccccccccccc"
	for id, session := range map[string]string{id: `name|s:6:"` + secret + `";`, broken: `user|s:99:"` + secret + `";`} {
		if err := client.Set(t.Context(), "PHPREDIS_SESSION:"+id, session, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.LPush(t.Context(), "PHPREDIS_SESSION:"+wrong, secret).Err(); err != nil {
		t.Fatal(err)
	}
	backend := testkit.Backend(t, tellingBackend)
	nobody := testkit.Nobody(t)
	var log testkit.Log
	c, err := parse([]string{"-listen", "127.0.0.1:0", "-backends", "http://" + backend, "-origin", "http://" + nobody, "-admin", "/admin", "-sticky", "pin", "-probe", "/broken/line",
		"-redis", "redis://:" + secret + "@" + store.Addr, "-cache-bypass-session", "user", "-redis-cache", "redis://shop:" + secret + "@" + nobody, "-purge-from", "127.0.0.0/8",
		"-cache-ttl", "60s", "-esi", "-trace", "clients", "-observers", "127.0.0.0/8", "-status", "127.0.0.1:0", "-act-from", "192.0.2.0/24", "-trust", "127.0.0.0/8"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c.stickyKey = sharedKey(t.Context(), c, logger)
	fmt.Fprintln(&log, describe(c))
	tier := startTier(t, c, logger)
	addr := tier.srv.Addr().String()

	pages := make(map[string]string) // what the tier itself has told
	tells := func(from, text string) { pages[from] = text }
	private := "Cookie: pin=" + secret + "; PHPSESSID=%s; sid=" + secret + "\r\nAuthorization: Bearer " + secret + "\r\nProxy-Authorization: Basic " + secret + "\r\nX-Api-Key: " + secret + "\r\n"
	for _, path := range []string{"/", "/cached", "/refused", "/broken/line", "/broken/fold", "/broken/name", "/broken/status", "/broken/chunk", "/broken/length", "/broken/trailer", "/broken/huge", "/broken/body",
		"/broken/late", "/broken/esi", "/broken/switch", "/admin/x", "/%2e%2e%2fadmin", "/bad%00", "/a\\b"} {
		for _, session := range []string{id, broken, wrong} {
			for _, method := range []string{"GET", "POST"} {
				head := method + " " + path + " HTTP/1.1\r\nHost: shop.example\r\nX-Route-Trace: 1\r\n" + fmt.Sprintf(private, session)
				head += "Connection: close\r\n"
				raw := head + "\r\n"
				if method == "POST" {
					raw = head + "Content-Length: 15\r\n\r\npassword=" + secret
				}
				tells(method+" "+path, tellsOf(t, addr, raw))
			}
		}
	}
	for name, lines := range map[string]string{
		"a blank behind a name":   "GET / HTTP/1.1\r\nHost: a\r\nCookie : sid=" + secret + "\r\n\r\n",
		"no colon":                "GET / HTTP/1.1\r\nHost: a\r\nCookie sid=" + secret + "\r\n\r\n",
		"no name":                 "GET / HTTP/1.1\r\nHost: a\r\n" + secret + "\r\n\r\n",
		"no name, a value":        "GET / HTTP/1.1\r\nHost: a\r\n: " + secret + "\r\n\r\n",
		"a name of letters":       "GET / HTTP/1.1\r\nHost: a\r\nC(ookie: " + secret + "\r\n\r\n",
		"a folded line":           "GET / HTTP/1.1\r\nHost: a\r\nCookie: a\r\n " + secret + "\r\n\r\n",
		"no CR":                   "GET / HTTP/1.1\r\nHost: a\r\nCookie: " + secret + "\n\r\n",
		"a NUL":                   "GET / HTTP/1.1\r\nHost: a\r\nCookie: " + secret + "\x00\r\n\r\n",
		"too much":                "GET / HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat(secret, 7000) + "\r\n\r\n",
		"too many":                "GET / HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat("a="+secret+"; ", 600) + "\r\n\r\n",
		"a login in the target":   "GET http://shop:" + secret + "@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
		"a login in the host":     "GET / HTTP/1.1\r\nHost: shop:" + secret + "@a\r\n\r\n",
		"a length of nothing":     "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n" + secret,
		"no chunk":                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\npassword=" + secret + "\r\n\r\n",
		"chunks that end wrongly": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n" + secret + "\r\n\r\n",
		"a trailer of no shape":   "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nCookie " + secret + "\r\n\r\n",
		"a body behind a body":    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\npassword=" + secret + " \r\n\r\n",
		"it leaves":               "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\npassword=" + secret,
		"a method of no shape":    "G(T / HTTP/1.1\r\nHost: a\r\nCookie: " + secret + "\r\n\r\n",
		"no request":              "\x16\x03\x01\x02" + secret + "\r\n\r\n",
		"a purge":                 "PURGE / HTTP/1.1\r\nHost: a\r\nAuthorization: " + secret + "\r\nSurrogate-Key: (\r\n\r\n",
		"websocket":               "GET /broken/switch HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: " + secret + "\r\nSec-WebSocket-Protocol: " + secret + "\r\n\r\n",
		"an identity":             "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: a " + secret + "\r\nTraceparent: 00-" + secret + "\r\n\r\n",
	} {
		if name != "it leaves" {
			lines += "GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
		}
		tells(name, tellsOf(t, addr, lines))
	}
	store.Kill()
	tells("without its Redis", tellsOf(t, addr, "GET /cached HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n"+fmt.Sprintf(private, id)+"\r\n"))

	for _, path := range []string{"/", "/status.json", "/metrics", "/healthz", "/readyz", "/nothing",
		"/explain?" + url.Values{"method": {"GET"}, "url": {"http://shop.example/cached"}, "cookie": {"pin=" + secret + "; PHPSESSID=" + id}, "header": {"Authorization: Bearer " + secret}, "client": {"192.0.2.1"}}.Encode(),
		"/explain?" + url.Values{"url": {"http://shop.example/admin"}, "cookie": {secret}, "header": {"Authorization: " + secret}}.Encode()} {
		r := httptest.NewRequest("GET", "http://localhost"+path, nil)
		r.Header.Set("Cookie", "sid="+secret)
		r.Header.Set("Authorization", secret)
		w := httptest.NewRecorder()
		tier.status.ServeHTTP(w, r)
		path, _, _ = strings.Cut(path, "?")
		tells("status "+path, fmt.Sprint(w.Header())+w.Body.String())
	}
	r := httptest.NewRequest("POST", "http://localhost/act", strings.NewReader(url.Values{"kind": {"pool"}, "name": {"apps"}, "part": {"a"}, "verb": {"drain"}}.Encode()))
	r.Header.Set("Authorization", secret)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	tier.status.ServeHTTP(w, r)
	tells("status /act", w.Body.String())
	for _, args := range [][]string{
		{"-backends", "http://shop:" + secret + "@10.0.0.1"},
		{"-backends", "http://shop:" + secret + "@10.0.0.1:x"},
		{"-backends", "shop:" + secret + "@10.0.0.1"},
		{"-backends", "http://a", "-origin", "http://shop:" + secret + "@10.0.0.1"},
		{"-backends", "http://a", "-redis", "redis://:" + secret + "@10.0.0.1"},
		{"-backends", "http://a", "-sticky", "pin", "-redis", "redis://:" + secret + "@10.0.0.1:x/"},
		{"-backends", "http://a", "-sticky", "pin", "-redis", "http://:" + secret + "@10.0.0.1/"},
		{"-backends", "http://a", "-sticky", "pin", "-redis", "redis://:" + secret + "@10.0.0.1/z"},
		{"-backends", "http://a", "-sticky", "pin", "-redis", "redis://:" + secret + "%@10.0.0.1/"},
		{"-backends", "http://a", "-redis-cache", "redis://:" + secret + "@10.0.0.1:x"},
		{"-backends", "http://a", "-cache", "0", "-redis-cache", "redis://:" + secret + "@10.0.0.1"},
		{"-backends", "http://a", "-redis-pages", "redis://:" + secret + "@10.0.0.1"},
		{"-backends", "http://a", "-memcached", "shop:" + secret + "@10.0.0.1:11211"},
		{"-backends", "http://a", "-redis", "redis://:" + secret + "@10.0.0.1", "-memcached", "10.0.0.1:11211"},
	} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%q is right", args)
		} else {
			tells(fmt.Sprintf("%.12s", args[len(args)-2]), err.Error())
		}
	}

	for from, text := range pages {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("%s: %q", from, text[max(0, i-100):min(len(text), i+50)])
		}
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, secret) {
			t.Errorf("logged: %s", line)
		}
	}
	log.Wants(t, "target=/refused")
	if n := strings.Count(log.String(), "\n"); n < 100 {
		t.Errorf("only %d lines", n)
	}
}

// tellsOf sends raw and returns what of the answers is the tier's own: all of an error,
// else what it shows to observers.
func tellsOf(t *testing.T, addr, raw string) (own string) {
	t.Helper()
	c := testkit.Dial(t, addr)
	defer c.Close()
	_, _ = io.WriteString(c, raw) // of what is refused early not all is taken
	if !strings.Contains(raw, "Connection: close") {
		_ = c.CloseWrite()
	}
	for in := bufio.NewReader(c); ; {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return own
		}
		body, _ := io.ReadAll(res.Body)
		own += fmt.Sprint(res.Header["X-Route-Trace"], res.Header["Server-Timing"], res.Header["Cache-Status"], res.Header["Traceparent"], res.Header["X-Request-Id"])
		if res.Header.Get("X-From") == "" {
			own += fmt.Sprint(res.Header, string(body))
		}
	}
}

// tellingBackend answers with secrets, well and badly.
func tellingBackend(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		const begin, cookie = "HTTP/1.1 200 OK\r\nX-From: backend\r\n", "Set-Cookie: sid=" + secret + "\r\n"
		answer, ok := map[string]string{
			"/":               begin + cookie + "Content-Length: 6\r\n\r\n" + secret,
			"/cached":         begin + "Cache-Control: max-age=60\r\nContent-Length: 6\r\n\r\n" + secret,
			"/refused":        "HTTP/1.1 502 Bad Gateway\r\nX-From: backend\r\n" + cookie + "Content-Length: 6\r\n\r\n" + secret,
			"/broken/line":    begin + "Set-Cookie sid=" + secret + "\r\n\r\n",
			"/broken/fold":    "HTTP/1.1 200 OK\r\n " + secret + "\r\n\r\n",
			"/broken/name":    begin + "Set(Cookie: sid=" + secret + "\r\n\r\n",
			"/broken/status":  "HTTP/1.1 2" + secret + "\r\n" + cookie + "\r\n",
			"/broken/chunk":   begin + "Transfer-Encoding: chunked\r\n\r\n" + secret + "\r\n\r\n",
			"/broken/length":  begin + "Content-Length: 100\r\n\r\n" + secret,
			"/broken/trailer": begin + "Transfer-Encoding: chunked\r\n\r\n0\r\nSet-Cookie " + secret + "\r\n\r\n",
			"/broken/huge":    begin + "Set-Cookie: " + strings.Repeat(secret, 1<<18) + "\r\n\r\n",
			"/broken/body":    begin + "Content-Length: 1\r\n\r\n" + secret + secret,
			"/broken/esi":     begin + "Surrogate-Control: content=\"ESI/1.0\"\r\nContent-Type: text/html\r\nContent-Length: 46\r\n\r\n<esi:include src=\"http://" + secret + "%%/\" /><esi:s3",
			"/broken/switch":  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + "other\r\n" + cookie + "\r\n",
		}[r.URL.Path]
		if !ok {
			answer = begin + "Content-Length: 0\r\n\r\n"
		}
		if _, err := io.WriteString(c, answer); err != nil || strings.HasPrefix(r.URL.Path, "/broken") {
			return
		}
	}
}
