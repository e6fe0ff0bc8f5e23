//go:build e2e

package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"

	"github.com/foretier/foretier/internal/browsertest"
	"github.com/foretier/foretier/internal/testkit"
)

// TestE2EWebsocketChromium: Chromium asks for websockets on the HTTP/2 connection that it
// has (RFC 8441). What it sends comes back byte for byte, and each side hears how the other
// closes one.
func TestE2EWebsocketChromium(t *testing.T) {
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ws" {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "a page")
			return
		}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"chat"}, CompressionMode: websocket.CompressionContextTakeover})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(8 << 20)
		for {
			kind, text, err := c.Read(r.Context())
			switch {
			case err != nil:
				return
			case string(text) == "close":
				_ = c.Close(4001, "as asked")
				return
			case c.Write(r.Context(), kind, text) != nil:
				return
			}
		}
	})
	pair := testkit.NewAuthority(t).Issue(t, "shop.example")
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pin := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	cert, key := testkit.Files(t, t.TempDir(), "shop", pair)
	addr, log, _ := startServe(t, "-backends", backend, "-sticky", "pin", "-tls-cert", cert, "-tls-key", key)
	_, port, _ := strings.Cut(addr, ":")
	b := browsertest.Open(t, "https://shop.example:"+port+"/first",
		chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(pin[:])),
		chromedp.Flag("host-resolver-rules", "MAP shop.example 127.0.0.1"))
	log.Wants(t, "target=/first", "proto=HTTP/2.0", "status=200")
	b.Run(`
		var said = []
		function echo(size) {
			return new Promise((yes, no) => {
				const sent = new Uint8Array(size)
				for (let at = 0; at < size; at += 65536) crypto.getRandomValues(sent.subarray(at, at + 65536))
				const ws = new WebSocket("wss://" + location.host + "/ws", ["chat"])
				ws.binaryType = "arraybuffer"
				ws.onopen = () => ws.send(sent)
				ws.onerror = () => no(size + " failed")
				ws.onmessage = m => {
					const got = new Uint8Array(m.data)
					if (ws.protocol != "chat" || got.length != size || got.some((c, i) => c != sent[i])) no(size + " came back as " + got.length)
					size % 2 ? ws.close(4000, "enough") : ws.send("close")
				}
				ws.onclose = e => yes([e.code, e.reason, e.wasClean].join(" "))
			})
		}
		Promise.all([0, 1, 125, 70001, 3000000, 3000001].map(echo)).then(all => document.title = all.join(", "), no => document.title = no)`)
	const asked, own = "4001 as asked true", "4000 enough true"
	b.Until(`document.title != ""`)
	if title, err := chromedp.Run(b, chromedp.Evaluate[string]("document.title")); err != nil || title != strings.Join([]string{asked, own, own, own, asked, own}, ", ") {
		t.Errorf("the browser has heard %q, %v\n%s", title, err, log)
	}
	testkit.Within(t, testkit.Patience, "six lines", func() bool { return strings.Count(log.String(), "target=/ws ") == 6 })
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "target=/ws ") && (!strings.Contains(line, "proto=HTTP/2.0") || !strings.Contains(line, "status=101")) || strings.Contains(line, "level=ERROR") {
			t.Error(line)
		}
	}
	if strings.Contains(log.String(), "proto=HTTP/1.1") {
		t.Errorf("%s", log)
	}
}
