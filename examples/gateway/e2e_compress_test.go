//go:build e2e

package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// TestE2ECompressCurl: curl, whose decoders are others' (zlib, brotli, libzstd), reads what
// is stored and what is not, in each coding.
func TestE2ECompressCurl(t *testing.T) {
	addr, _ := startGateway(t, "-backends", sheets(t))
	for _, path := range []string{"/stored", "/passed"} {
		for _, c := range []struct{ accepts, stored, passed string }{
			{"br", "br", ""}, {"gzip", "gzip", "gzip"}, {"zstd", "zstd", "zstd"}, {"gzip;q=0.5, zstd", "zstd", "zstd"}, {"identity", "", ""},
		} {
			want := c.stored
			if path == "/passed" {
				want = c.passed
			}
			file, head := t.TempDir()+"/body", t.TempDir()+"/head"
			ask := func() (coding string) {
				curl(t, "--compressed", "-H", "Accept-Encoding: "+c.accepts, "-D", head, "-o", file, "http://"+addr+path)
				text, err := os.ReadFile(head)
				if err != nil {
					t.Fatal(err)
				}
				for line := range strings.SplitSeq(string(text), "\r\n") {
					if name, value, _ := strings.Cut(line, ": "); strings.EqualFold(name, "Content-Encoding") {
						return value
					}
				}
				return ""
			}
			got := ""
			testkit.Within(t, 20*time.Second, path+" in "+want, func() bool { got = ask(); return got == want })
			body, err := os.ReadFile(file)
			if err != nil || string(body) != sheet {
				t.Errorf("%s in %q: %d bytes, %v", path, got, len(body), err)
			}
		}
	}
}

// TestE2ECompressBrowser: a browser shows what is stored and what is not, in the coding
// that it is sent, over TLS, since it accepts br and zstd there alone.
func TestE2ECompressBrowser(t *testing.T) {
	servertest.Require(t, "chromium")
	pageOf := func(path string) string {
		return "<!doctype html><title>" + path + "</title>" + strings.Repeat("<p>text of "+path+"\n", 2000)
	}
	seen := make(chan string, 8)
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		switch r.URL.Path {
		case "/stored":
			w.Header().Set("Cache-Control", "s-maxage=600, max-age=0")
		case "/seen":
			seen <- r.URL.RawQuery
			return
		case "/":
			_, _ = io.WriteString(w, `<!doctype html><script>
				const hex = b => Array.from(new Uint8Array(b), x => x.toString(16).padStart(2, "0")).join("");
				(async () => {
					for (const path of ["/stored", "/passed", "/stored"]) {
						const res = await fetch(path, {cache: "no-store"});
						const body = await res.arrayBuffer();
						const sum = hex(await crypto.subtle.digest("SHA-256", body));
						await fetch("/seen?" + path + "," + res.headers.get("Content-Encoding") + "," + sum);
					}
				})()</script>`)
			return
		}
		_, _ = io.WriteString(w, pageOf(r.URL.Path))
	})
	cert, key := testkit.Files(t, t.TempDir(), "gateway", testkit.NewAuthority(t).Issue(t, "shop.test"))
	addr, _ := startGateway(t, "-backends", backend, "-tls-cert", cert, "-tls-key", key)
	testkit.Within(t, 10*time.Second, "the form that the browser is sent", func() bool {
		head := curl(t, "-k", "-D", "-", "-o", "/dev/null", "-H", "Accept-Encoding: br", "--connect-to", "shop.test:443:"+addr, "https://shop.test/stored")
		return strings.Contains(strings.ToLower(head), "content-encoding: br")
	})
	defer browse(t, "MAP shop.test:443 "+addr, "https://shop.test/", "--ignore-certificate-errors")()
	for _, c := range []struct{ path, codings string }{{"/stored", "br"}, {"/passed", "gzip zstd"}, {"/stored", "br"}} {
		select {
		case got := <-seen:
			said := strings.Split(got, ",")
			if len(said) != 3 || said[0] != c.path || !strings.Contains(c.codings, said[1]) || said[2] != fmt.Sprintf("%x", sha256.Sum256([]byte(pageOf(c.path)))) {
				t.Errorf("%s: %s", c.path, got)
			}
		case <-time.After(60 * time.Second):
			t.Fatal("the browser shows nothing")
		}
	}
}
