package edge_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// askHTTP2 sends fields, name and value in turn, over HTTP/2 as they are, and returns the
// status; 0: the stream or the connection has ended.
func askHTTP2(t *testing.T, addr, name string, fields ...string) (status int) {
	t.Helper()
	c := tls.Client(testkit.Dial(t, addr), &tls.Config{InsecureSkipVerify: true, ServerName: name, NextProtos: []string{"h2"}})
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // it cannot fail
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	fr := http2.NewFramer(c, c)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = fr.WriteSettings()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // into memory
	}
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	_ = fr.WriteData(1, true, []byte("hello"))
	for {
		frame, err := fr.ReadFrame()
		if err != nil {
			return 0
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			status, _ = strconv.Atoi(frame.PseudoValue("status"))
			return status
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return 0
		}
	}
}

// TestWhatNetHTTPLetsPass: a request over HTTP/2 that means two things is refused.
func TestWhatNetHTTPLetsPass(t *testing.T) {
	own := secured(t, nil)
	standard := own
	standard.NetHTTP2 = true
	nothing := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})
	servers := map[string]*edge.Server{"the tier's own": serve(t, nothing, own), "net/http": serve(t, nothing, standard)}
	for what, c := range map[string]struct {
		path   string
		fields []string
		want   int
	}{
		"plain":             {"/", []string{"content-length", "5"}, 200},
		"the same host":     {"/", []string{"host", "SHOP.example"}, 200},
		"another host":      {"/", []string{"host", "other.example"}, 400},
		"an absolute path":  {"https://other.example/admin", nil, 400},
		"two lengths":       {"/", []string{"content-length", "5", "content-length", "6"}, 400},
		"no number":         {"/", []string{"content-length", "five"}, 400},
		"a number too many": {"/", []string{"content-length", "5, 5"}, 400},
		"a sign":            {"/", []string{"content-length", "+5"}, 400},
		"nothing":           {"/", []string{"content-length", ""}, 400},
		"an expectation":    {"/", []string{"expect", "100-continue", "content-length", "5"}, 200},
		"another":           {"/", []string{"expect", "something"}, 417},
	} {
		fields := append([]string{":method", "POST", ":scheme", "https", ":authority", "shop.example", ":path", c.path}, c.fields...)
		for name, srv := range servers {
			if got := askHTTP2(t, srv.Addr().String(), "shop.example", fields...); got != c.want && (got != 0 || c.want == 200) {
				t.Errorf("%s, %s: %d, want %d", what, name, got, c.want)
			}
		}
	}
}

// TestSchemeOfHTTP2: a request that says http though it has come over TLS is no way around
// what TLS has to ask.
func TestSchemeOfHTTP2(t *testing.T) {
	_, staff := client(t, "staff")
	srv := byName(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil {
			w.WriteHeader(http.StatusTeapot)
		}
	}), map[string]*tls.Config{"admin.example": {ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: staff}})
	for host, want := range map[string]int{"shop.example": 200, "admin.example": 421} {
		for _, scheme := range []string{"http", "https"} {
			got := askHTTP2(t, srv.Addr().String(), "shop.example", ":method", "GET", ":scheme", scheme, ":authority", host, ":path", "/")
			if got != want {
				t.Errorf("%s://%s: %d, want %d", scheme, host, got, want)
			}
		}
	}
}
