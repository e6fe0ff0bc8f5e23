//go:build e2e

package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"
	"github.com/quic-go/quic-go"

	"github.com/foretier/foretier/internal/browsertest"
	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// A gateway that speaks HTTP/3 is followed by another: what it has in hand ends, others go
// back to TCP, and the other one speaks HTTP/3 as soon as it can.
func TestE2EHTTP3TakeOver(t *testing.T) {
	bin := buildGateway(t)
	arrived, answer := make(chan struct{}), make(chan struct{})
	backend, _ := pagedShop(t, func() { close(arrived); <-answer })
	trust, cert, key := certified(t)
	addr := fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
	l := startLineage(t, nil, bin, "-listen", addr, "-backends", backend, "-probe", "/healthz", "-tls-cert", cert, "-tls-key", key, "-http3", "on", "-cache", "0")
	l.says(1, "msg=serving")
	ask := func(client *http.Client, path string) string {
		res, err := client.Get("https://" + addr + path)
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return fmt.Sprint(res.Proto, " ", string(body), " ", err, " ", res.Header.Get("Alt-Svc") != "")
	}
	tcp := &http.Client{Transport: &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}}
	until(t, "HTTP/3", func() bool { return ask(http3Client(t, addr, trust), "/1") == "HTTP/3.0 page /1 <nil> true" })

	slow := make(chan string, 1)
	go func() { slow <- ask(http3Client(t, addr, trust), "/slow") }()
	<-arrived
	l.takeOver(l.first.Process.Pid, 1)
	l.says(1, "msg=draining")
	// The first has the address still, and says no; the second serves by TCP, and does not
	// speak of HTTP/3 before it has it.
	until(t, "a refusal", func() bool { return strings.Contains(ask(http3Client(t, addr, trust), "/1"), "CONNECTION_REFUSED") })
	if got := ask(tcp, "/1"); got != "HTTP/1.1 page /1 <nil> false" {
		t.Errorf("by TCP: %s", got)
	}
	close(answer)
	if got := <-slow; got != "HTTP/3.0 page /slow <nil> true" {
		t.Errorf("what was in hand: %s", got)
	}
	until(t, "HTTP/3 of the other", func() bool { return ask(http3Client(t, addr, trust), "/1") == "HTTP/3.0 page /1 <nil> true" })
	if got := ask(tcp, "/1"); got != "HTTP/1.1 page /1 <nil> true" {
		t.Errorf("by TCP: %s", got)
	}
	l.endsWell()
}

// A gateway is killed: its clients learn of it from the next one, by the key that both have,
// and do not wait for answers that nobody will give.
func TestE2EHTTP3Killed(t *testing.T) {
	bin := buildGateway(t)
	trust, cert, key := certified(t)
	secret := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(secret, []byte(strings.Repeat("k", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
	args := []string{"-listen", addr, "-backends", visitorBackend(t, "web1"), "-tls-cert", cert, "-tls-key", key, "-http3", "on", "-sticky", "pin", "-sticky-key-file", secret}
	first := startLineage(t, nil, bin, args...)
	first.says(1, "msg=serving")
	client := http3Client(t, addr, trust)
	ask := func() error {
		res, err := client.Get("https://" + addr + "/page")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		_, err = io.ReadAll(res.Body)
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	if err := first.first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-first.ended
	startLineage(t, nil, bin, args...).says(1, "msg=serving")
	began := time.Now()
	for err := ask(); err != nil; err = ask() {
		if _, reset := errors.AsType[*quic.StatelessResetError](err); !reset {
			t.Errorf("%v, want what the next gateway has said", err)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the client waited for %v", took)
	}
}

// Chromium speaks HTTP/3 to the gateway. It is told to, since by Alt-Svc alone it does so
// only where an authority that it knows has signed.
func TestE2EHTTP3Chromium(t *testing.T) {
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ws" {
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			defer c.CloseNow()
			if kind, text, err := c.Read(r.Context()); err == nil {
				_ = c.Write(r.Context(), kind, text)
			}
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.Copy(w, r.Body)
	})
	pair := testkit.NewAuthority(t).Issue(t, "shop.example")
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pin := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	cert, key := testkit.Files(t, t.TempDir(), "shop", pair)
	addr, log, _ := startServe(t, "-backends", backend, "-tls-cert", cert, "-tls-key", key, "-http3", "on")
	_, port, _ := strings.Cut(addr, ":")
	b := browsertest.Open(t, "https://shop.example:"+port+"/first",
		chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(pin[:])),
		chromedp.Flag("host-resolver-rules", "MAP shop.example 127.0.0.1"),
		chromedp.Flag("origin-to-force-quic-on", "shop.example:"+port))
	log.Wants(t, "method=GET", "target=/first", "proto=HTTP/3.0", "status=200")
	for _, size := range []int{0, 5, 3_000_000} {
		b.Run(fmt.Sprintf(`fetch("/order", {method: "POST", body: "x".repeat(%d)}).then(r => r.text()).then(t => document.title = "echo " + t.length)`, size))
		b.Until(fmt.Sprintf(`document.title == "echo %d"`, size))
	}
	log.Wants(t, "method=POST", "target=/order", "proto=HTTP/3.0", "status=200")
	// A websocket comes over TCP.
	b.Run(`let ws = new WebSocket("wss://" + location.host + "/ws"); ws.onopen = () => ws.send("hello"); ws.onmessage = m => document.title = "said " + m.data; ws.onerror = () => document.title = "failed"`)
	b.Until(`document.title == "said hello"`)
	if strings.Contains(log.String(), "proto=HTTP/2.0") || strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("%s", log)
	}
}
