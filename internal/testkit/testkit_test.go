package testkit

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
)

func TestConnections(t *testing.T) {
	addr := Backend(t, Echo("db1 "))
	c := Dial(t, addr)
	_, _ = io.WriteString(c, "hello")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "db1 hello" {
		t.Errorf("got %q, %v", got, err)
	}
	if c, err := net.Dial("tcp", Nobody(t)); err == nil {
		c.Close()
		t.Error("somebody listens where nobody should")
	}
}

func TestHTTPBackendAnswersToTheByte(t *testing.T) {
	url, asked := HTTPBackend(t, func(c net.Conn, r *http.Request) { fmt.Fprint(c, "no HTTP, for "+r.URL.Path) })
	if got := Send(t, url[len("http://"):], "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"); got != "no HTTP, for /a" || asked.Load() != 1 {
		t.Errorf("got %q, asked %d times", got, asked.Load())
	}
}

func TestLogWaitsForALine(t *testing.T) {
	var log Log
	go log.Logger().Debug("late", "backend", "a")
	log.Wants(t, "level=DEBUG", "late", "backend=a")
	if log.has([]string{"late", "backend=b"}) {
		t.Error("it finds what nobody has logged")
	}
}

func TestAuthority(t *testing.T) {
	ca := NewAuthority(t)
	for _, name := range []string{"shop.example", "127.0.0.1"} {
		certFile, keyFile := Files(t, t.TempDir(), name, ca.Issue(t, name))
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			t.Fatal(err)
		}
		addr := Accept(t, tls.NewListener(Listen(t), &tls.Config{Certificates: []tls.Certificate{pair}}), Echo("hello"))
		c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: ca.Pool, ServerName: name})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c.Close()
		if _, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: NewAuthority(t).Pool, ServerName: name}); err == nil {
			t.Errorf("%s: another authority's word was taken", name)
		}
	}
}

func TestBlocks(t *testing.T) {
	page := Tree(t, map[string]string{"page.md": "# A page\n\n```sh\n# /etc/x, on all\na -b \\\n    -c\n```\n\nand\n\n```sql\n-- on one\nSELECT 1;\n```\n```\na drawing\n```\n"}) + "/page.md"
	want := []Block{{"sh", "/etc/x, on all", "a -b -c\n"}, {"sql", "on one", "SELECT 1;\n"}, {"", "", "a drawing\n"}}
	if got := Blocks(t, page); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
