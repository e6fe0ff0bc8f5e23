package fields

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func header(lines ...string) http.Header {
	h := make(http.Header)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

func TestCodable(t *testing.T) {
	for _, yes := range []string{
		"text/html", "text/html; charset=utf-8", "TEXT/HTML;x", " text/css ", "text/plain", "text/x-anything", "application/json", "application/ld+json",
		"application/xhtml+xml", "image/svg+xml", "application/javascript", "application/wasm", "font/ttf", "image/x-icon", "application/vnd.api+json",
	} {
		if !Codable(header("Content-Type: " + yes)) {
			t.Errorf("%q is not", yes)
		}
	}
	for _, no := range []string{
		"", "text", "texts/html", "text/event-stream", "text/event-stream; charset=utf-8", "image/png", "image/jpeg", "video/mp4", "font/woff2", "font/woff",
		"application/zip", "application/gzip", "application/octet-stream", "application/pdf", "application/xjson", "multipart/byteranges; boundary=x", "+json", "a/b; x=+json",
	} {
		if Codable(header("Content-Type: " + no)) {
			t.Errorf("%q is", no)
		}
	}
	for line, want := range map[string]bool{
		"Content-Length: 1023": false, "Content-Length: 1024": true, "Content-Length: x": false,
		"Content-Encoding: br": false, "Content-Encoding: identity": false, "Content-Range: bytes 0-9/5000": false,
		"Cache-Control: max-age=1, No-Transform": false, "Cache-Control: max-age=1": true, "Content-Type: text/css": false,
		"Content-Digest: sha-256=:x:": false, "Repr-Digest: sha-256=:x:": false, "Digest: x": false, "Content-Md5: x": false, "Signature: x": false,
		"Surrogate-Control: content=\"ESI/1.0\"": false, "Surrogate-Control: max-age=5": true, "Etag: \"a\"": true, "Vary: Cookie": true,
	} {
		if got := Codable(header("Content-Type: text/html", line)); got != want {
			t.Errorf("with %s: %t", line, got)
		}
	}
	if Codable(nil) {
		t.Error("of no type")
	}
}

func TestCode(t *testing.T) {
	for name, c := range map[string]struct{ before, after http.Header }{
		"all": {
			header("Content-Length: 5", "Accept-Ranges: bytes", "Etag: \"a\"", "Content-Type: text/css"),
			header("Content-Encoding: br", "Etag: W/\"a\"", "Vary: Accept-Encoding", "Content-Type: text/css")},
		"weak":     {header("Etag: W/\"a\""), header("Content-Encoding: br", "Etag: W/\"a\"", "Vary: Accept-Encoding")},
		"varies":   {header("Vary: Origin, accept-encoding"), header("Content-Encoding: br", "Vary: Origin, accept-encoding")},
		"varies *": {header("Vary: *"), header("Content-Encoding: br", "Vary: *")},
		"another":  {header("Vary: Origin"), header("Content-Encoding: br", "Vary: Origin", "Vary: Accept-Encoding")},
	} {
		before := fmt.Sprint(c.before)
		h := c.before.Clone()
		shared := http.Header{"Vary": c.before["Vary"]}
		h["Vary"] = shared["Vary"]
		if shared["Vary"] == nil {
			delete(h, "Vary")
		}
		Code(h, "br")
		if got, want := fmt.Sprint(h), fmt.Sprint(c.after); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if fmt.Sprint(c.before) != before {
			t.Errorf("%s: it has changed values that others share", name)
		}
	}
}
