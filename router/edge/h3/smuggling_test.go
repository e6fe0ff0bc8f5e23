package h3_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// A forged request says more than one thing, as far as a protocol lets it.
type forged struct {
	method, path, host string
	scheme             *string // "https", if nil
	fields             []pair  // pseudo-fields too, which HTTP/1.1 has not
	body               []string
	want               string // the body that a server may see, if it sees the request
	none               bool   // no server may see it
	maybe              bool   // it may be refused, if what is wrong comes early enough
	raw                string // what is sent over HTTP/1.1, instead: MARK stands for what its target ends with
	only               string // the protocols that can say it, by their numbers; empty: all
}

// A clerk is a server of HTTP/1.1 that writes down what it gets, by the bytes.
type clerk struct {
	url string

	mu    sync.Mutex
	got   []string // method, target, host and body of each request
	noise []string // what was no request
}

func newClerk(t *testing.T) *clerk {
	c := new(clerk)
	c.url = "http://" + testkit.Backend(t, func(conn net.Conn) {
		br := bufio.NewReader(conn)
		for {
			if _, err := br.Peek(1); err != nil {
				return
			}
			r, err := http.ReadRequest(br)
			if err != nil {
				c.note(&c.noise, err.Error())
				return
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return // it was given up
			}
			text := fmt.Sprintf("%s %s %s %q", r.Method, r.RequestURI, r.Host, body)
			c.note(&c.got, text)
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(text))
			if r.Method != "HEAD" {
				_, _ = io.WriteString(conn, text)
			}
		}
	})
	return c
}

func (c *clerk) note(to *[]string, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*to = append(*to, text)
}

func (c *clerk) take() (got, noise []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	got, noise = c.got, c.noise
	c.got, c.noise = nil, nil
	return got, noise
}

// all returns the request as HTTP/2 and HTTP/3 have it.
func (f *forged) all() []pair {
	scheme := "https"
	if f.scheme != nil {
		scheme = *f.scheme
	}
	return append([]pair{{":method", f.method}, {":scheme", scheme}, {":authority", f.host}, {":path", f.path}}, f.fields...)
}

// http1 sends the request over HTTP/1.1, to the byte.
func (f *forged) http1(t *testing.T, addr string) (status int) {
	c := tls.Client(testkit.Dial(t, addr), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // it cannot fail
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", f.method, f.path, f.host)
	closes := true
	for _, p := range f.fields {
		fmt.Fprintf(&b, "%s: %s\r\n", p.name, p.value)
		closes = closes && p.name != "connection"
	}
	if closes {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n" + strings.Join(f.body, ""))
	if f.raw != "" {
		b.Reset()
		b.WriteString(f.raw)
	}
	_, _ = c.Write(b.Bytes()) // of which the server may have had enough
	br := bufio.NewReader(c)
	for {
		res, err := http.ReadResponse(br, &http.Request{Method: f.method})
		if err != nil {
			return status
		}
		_, _ = io.Copy(io.Discard, res.Body)
		if status = res.StatusCode; status >= 200 {
			return status
		}
	}
}

// http2 sends it over HTTP/2, frame by frame.
func (f *forged) http2(t *testing.T, addr string) (status int) {
	c := tls.Client(testkit.Dial(t, addr), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // it cannot fail
	_, _ = io.WriteString(c, http2.ClientPreface)
	fr := http2.NewFramer(c, c)
	fr.AllowIllegalWrites = true
	_ = fr.WriteSettings()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, p := range f.all() {
		_ = enc.WriteField(hpack.HeaderField{Name: p.name, Value: p.value}) // into memory
	}
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: len(f.body) == 0})
	for i, piece := range f.body {
		_ = fr.WriteData(1, i == len(f.body)-1, []byte(piece))
	}
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		frame, err := fr.ReadFrame()
		if err != nil {
			return status
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			_, _ = fmt.Sscan(frame.PseudoValue("status"), &status)
			if frame.StreamEnded() {
				return status
			}
		case *http2.DataFrame:
			if frame.StreamEnded() {
				return status
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return status
		}
	}
}

// http3 sends it over HTTP/3, likewise.
func (f *forged) http3(t *testing.T, front *front) (status int) {
	c := front.dial(t, nil)
	defer func() { _ = c.CloseWithError(0, "") }()
	r, _ := c.ask(f.all(), f.body...)
	return r.status
}

// A scribe tells what servers have got since the last time: method, target, host and body
// of each request, and what was no request.
type scribe interface{ take() (got, noise []string) }

// TestOneRequestInAtMostOneOut: whatever a client sends, over whichever protocol, a server
// behind gets one request that means the same, or none.
func TestOneRequestInAtMostOneOut(t *testing.T) {
	c := newClerk(t)
	smuggle(t, c.url, balancer.Limits{}, c)
}

// smuggle sends what is smuggled to a server, by a tier, and asks the scribe what it got.
func smuggle(t *testing.T, url string, limits balancer.Limits, to scribe) {
	apps, err := balancer.New(balancer.Backends(url), balancer.Options{Limits: limits, Via: balancer.NoVia, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer apps.Close()
	front := serve(t, apps, edge.Options{Limits: edge.Limits{BodyStall: 2 * time.Second}})
	addr := front.Addr().String()
	canary := front.client(t)
	type asked struct {
		forged
		what   string
		status int
	}
	sent := make(map[string]asked) // by what their targets end with
	for name, f := range smuggled() {
		for _, proto := range []string{"1", "2", "3"} {
			if f.only != "" && !strings.Contains(f.only, proto) || proto == "1" && strings.HasPrefix(pseudo(f.fields), ":") {
				continue
			}
			f, mark := f, fmt.Sprintf("&n=%d.", len(sent))
			if strings.Contains(f.path, "?") {
				f.path += mark
			}
			f.raw = strings.ReplaceAll(f.raw, "MARK", mark)
			var status int
			switch proto {
			case "1":
				status = f.http1(t, addr)
			case "2":
				status = f.http2(t, addr)
			case "3":
				status = f.http3(t, front)
			}
			sent[mark] = asked{f, "HTTP/" + proto + ": " + name, status}
			// What the next visitor gets is what that one asked for.
			res, err := canary.Get("https://shop.example/canary")
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(res.Body)
			res.Body.Close()
			if !bytes.HasPrefix(text, []byte("GET /canary shop.example")) || err != nil {
				t.Errorf("HTTP/%s: %s: the next visitor got %q, %v", proto, name, text, err)
			}
		}
	}
	// Some clients have gone before their request came.
	testkit.Within(t, 20*time.Second, "nothing in hand", func() bool { return metric(front.Report(), "requests_in_flight") == 0 })
	if err := front.end(); err != nil {
		t.Errorf("Run: %v", err)
	}
	got, noise := to.take()
	if len(noise) > 0 {
		t.Errorf("a server got what is no request: %q", noise)
	}
	served := make(map[string][]string)
	for _, text := range got {
		target := strings.Fields(text)[1]
		mark := target[max(0, strings.LastIndex(target, "&n=")):]
		if _, ok := sent[mark]; !ok && target != "/canary" {
			t.Errorf("a server got what nobody has sent: %s", text)
		}
		served[mark] = append(served[mark], text)
	}
	for mark, f := range sent {
		got, want := served[mark], fmt.Sprintf("%s %s %s %q", f.method, f.path, f.host, f.want)
		switch {
		case len(got) > 1 || f.none && len(got) > 0:
			t.Errorf("%s: %d: a server got %q", f.what, f.status, got)
		case len(got) == 1 && got[0] != want:
			t.Errorf("%s: %d: a server got %q, want %q", f.what, f.status, got[0], want)
		case len(got) == 0 && f.status >= 200 && f.status < 400:
			t.Errorf("%s: %d, and no server has seen it", f.what, f.status)
		case len(got) == 0 && !f.none && !f.maybe:
			t.Errorf("%s: %d: no server got it", f.what, f.status)
		}
	}
	t.Logf("%d requests, of which %d reached a server", len(sent), len(served)-1)
	if len(sent) < 400 {
		t.Errorf("only %d requests were sent", len(sent))
	}
}

// pseudo returns the first of the names.
func pseudo(fields []pair) string {
	if len(fields) == 0 {
		return ""
	}
	return fields[0].name
}
