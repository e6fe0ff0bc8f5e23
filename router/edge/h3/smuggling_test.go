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
	fields             []pair // pseudo-fields too, which HTTP/1.1 has not
	body               []string
	want               string // the body that a server may see, if it sees the request
	none               bool   // no server may see it
	maybe              bool   // it may be refused, if what is wrong comes early enough
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

// smuggled are requests in which another one hides, or of which two servers may think
// differently.
func smuggled() map[string]forged {
	const second = "GET /admin HTTP/1.1\r\nHost: shop.example\r\n\r\n"
	post := func(body []string, want string, fields ...pair) forged {
		return forged{method: "POST", fields: fields, body: body, want: want}
	}
	out := map[string]forged{
		"plain":                             {},
		"a body":                            post([]string{"hello"}, "hello", pair{"content-length", "5"}),
		"a body of unknown length":          {method: "POST", body: []string{"hel", "lo"}, want: "hello", only: "23"},
		"a body that looks like one":        post([]string{second}, second, pair{"content-length", fmt.Sprint(len(second))}),
		"one that looks like chunks":        post([]string{"0\r\n\r\n" + second}, "0\r\n\r\n"+second, pair{"content-length", fmt.Sprint(5 + len(second))}),
		"a GET with one":                    {body: []string{second}, want: second, fields: []pair{{"content-length", fmt.Sprint(len(second))}}},
		"a HEAD with one":                   {method: "HEAD", body: []string{second}, want: second, fields: []pair{{"content-length", fmt.Sprint(len(second))}}},
		"more than its length":              {method: "POST", fields: []pair{{"content-length", "5"}}, body: []string{"hello" + second}, none: true, only: "23"},
		"more, in another frame":            {maybe: true, method: "POST", fields: []pair{{"content-length", "5"}}, body: []string{"hello", second}, want: "hello", only: "23"},
		"less than its length":              {method: "POST", fields: []pair{{"content-length", "500"}}, body: []string{"hello"}, none: true, only: "23"},
		"a length of 0 and a body":          {maybe: true, method: "POST", fields: []pair{{"content-length", "0"}}, body: []string{second}, want: "", only: "23"},
		"two lengths":                       {method: "POST", fields: []pair{{"content-length", "5"}, {"content-length", "6"}}, body: []string{"hello!"}, none: true},
		"the same length twice":             {method: "POST", fields: []pair{{"content-length", "5"}, {"content-length", "5"}}, body: []string{"hello"}, none: true, only: "12"},
		"the same length twice over HTTP/3": {method: "POST", fields: []pair{{"content-length", "5"}, {"content-length", "5"}}, body: []string{"hello"}, want: "hello", only: "3"},
		"an empty length":                   {method: "POST", fields: []pair{{"content-length", ""}}, body: []string{"hello"}, none: true, only: "12"},
		"an empty length over HTTP/3":       {method: "POST", fields: []pair{{"content-length", ""}}, body: []string{"hello"}, want: "hello", only: "3"}, // quic-go takes it for none
		"a list of lengths":                 {method: "POST", fields: []pair{{"content-length", "5, 6"}}, body: []string{"hello!"}, none: true},
		"a path with a request":             {path: "/ HTTP/1.1\r\nHost: shop.example\r\n\r\nGET /admin", none: true, only: "23"}, // over HTTP/1.1 these are two
		"a path with a blank":               {path: "/a /admin", none: true},
		"a path with a version":             {path: "/admin HTTP/1.1", none: true},
		"a path with a fragment":            {path: "/a#/admin", none: true},
		"a path with NUL":                   {path: "/a\x00/admin", none: true},
		"a path with LF":                    {path: "/a\n/admin", none: true},
		"a path with CR":                    {path: "/a\r/admin", none: true},
		"a path with TAB":                   {path: "/a\t/admin", none: true},
		"no path":                           {path: " ", none: true},
		"two slashes":                       {path: "//shop.example/admin?x"},
		"another absolute":                  {path: "https://other.example/admin", none: true, only: "23"},
		"an asterisk":                       {path: "*", none: true},
		"a method with a path":              {method: "GET /admin", none: true},
		"a method with a line":              {method: "GET / HTTP/1.1\r\nX:", none: true, only: "23"},
		"a method with a colon":             {method: "GET:", none: true},
		"a host with a line":                {host: "shop.example\r\nX: y", none: true, only: "23"},
		"a host with a path":                {host: "shop.example/admin", none: true},
		"a host with a user":                {host: "shop.example@other.example", none: true},
		"a host with a blank":               {host: "shop.example other.example", none: true},
		"a host with a list":                {host: "shop.example, other.example", none: true},
		"another host":                      {fields: []pair{{"host", "other.example"}}, none: true},
		"a field with a request":            {fields: []pair{{"a", "b\r\n\r\n" + second}}, none: true, only: "23"},
		"a field with a line":               {fields: []pair{{"a", "b\r\ncontent-length: 5"}}, none: true, only: "23"},
		"a field with LF":                   {fields: []pair{{"a", "b\ncontent-length: 5"}}, none: true},
		"a field with CR":                   {fields: []pair{{"a", "b\rcontent-length: 5"}}, none: true},
		"a field with NUL":                  {fields: []pair{{"a", "b\x00"}}, none: true},
		"a folded field":                    {fields: []pair{{"a", "b\r\n content-length: 5"}}, none: true},
		"a name with a line":                {fields: []pair{{"a: b\r\ncontent-length", "5"}}, none: true, only: "23"},
		"a name with a blank":               {fields: []pair{{"content-length ", "5"}}, body: []string{"hello"}, none: true},
		"a name with a blank ahead":         {fields: []pair{{" content-length", "5"}}, body: []string{"hello"}, none: true},
		"a name with a colon":               {fields: []pair{{"content-length:", "5"}}, none: true, only: "23"},
		"an empty name":                     {fields: []pair{{"", "5"}}, none: true},
		"an unknown pseudo-field":           {fields: []pair{{":content-length", "5"}}, none: true},
		"a path twice":                      {fields: []pair{{":path", "/admin"}}, none: true},
		"a method twice":                    {fields: []pair{{":method", "POST"}}, none: true},
		"an authority twice":                {fields: []pair{{":authority", "other.example"}}, none: true},
		"another scheme":                    {fields: []pair{{":scheme", "http"}}, none: true},
		"a status":                          {fields: []pair{{":status", "200"}}, none: true},
		"an upgrade to HTTP/2":              {fields: []pair{{"connection", "upgrade, http2-settings"}, {"upgrade", "h2c"}, {"http2-settings", "AAMAAABkAAQAAP__"}}, only: "1"},
		"Connection names a field":          {fields: []pair{{"connection", "close, content-length"}, {"content-length", "5"}}, body: []string{"hello"}, want: "hello", only: "1"},
		"an expectation":                    {method: "POST", fields: []pair{{"expect", "100-continue"}, {"content-length", "5"}}, body: []string{"hello"}, want: "hello"},
		"another expectation":               {method: "POST", fields: []pair{{"expect", "200-ok"}, {"content-length", "5"}}, body: []string{"hello"}, none: true},
		"override fields":                   {fields: []pair{{"x-http-method-override", "DELETE"}, {"x-original-url", "/admin"}, {"x-rewrite-url", "/admin"}}},
		"an underscore":                     {method: "POST", fields: []pair{{"content_length", "5"}, {"transfer_encoding", "chunked"}, {"content-length", "5"}}, body: []string{"hello"}, want: "hello"},
	}
	for _, length := range []string{"+5", "-5", "0x5", "5 5", "5;", "5.0", "five", "99999999999999999999", "5\x00", "\x0b5", "５"} {
		out[fmt.Sprintf("a length of %q", length)] = forged{method: "POST", fields: []pair{{"content-length", length}}, body: []string{"hello"}, none: true}
	}
	for _, coding := range []string{"chunked", "xchunked", "chunked, identity", "identity", "gzip, chunked", "chunked, chunked", "Chunked", "chunked;q=1", "\x0bchunked", "chunked\x00", "\"chunked\"", ""} {
		out[fmt.Sprintf("a length beside the coding %q", coding)] = forged{method: "POST", fields: []pair{{"content-length", "5"}, {"transfer-encoding", coding}}, body: []string{"0\r\n\r\n" + second}, none: true}
		out[fmt.Sprintf("the coding %q over HTTP/2 and HTTP/3", coding)] = forged{method: "POST", fields: []pair{{"transfer-encoding", coding}}, body: []string{"0\r\n\r\n" + second}, none: true, only: "23"}
	}
	for what, chunks := range map[string]string{
		"a size with a sign": "+5\r\nhello\r\n0\r\n\r\n", "a size in hex": "0x5\r\nhello\r\n0\r\n\r\n", "a size with a blank": " 5\r\nhello\r\n0\r\n\r\n",
		"a size beyond all": "10000000000000005\r\nhello\r\n0\r\n\r\n", "a size with LF": "5\nhello\r\n0\r\n\r\n", "a chunk that ends with LF": "5\r\nhello\n0\r\n\r\n",
		"a chunk that ends not": "5\r\nhelloX\r\n0\r\n\r\n", "no size": "\r\nhello\r\n0\r\n\r\n", "an extension with LF": "5;a\nb\r\nhello\r\n0\r\n\r\n", "an extension with CR": "5;a\rb\r\nhello\r\n0\r\n\r\n",
		"a trailer that is none": "5\r\nhello\r\n0\r\na b\r\n\r\n",
	} {
		out["chunks: "+what] = forged{method: "POST", fields: []pair{{"transfer-encoding", "chunked"}}, body: []string{chunks}, none: true, only: "1"}
	}
	for what, chunks := range map[string]string{
		"plain": "5\r\nhello\r\n0\r\n\r\n", "an extension": "5;a=b\r\nhello\r\n0\r\n\r\n", "zeros ahead": "0005\r\nhello\r\n0\r\n\r\n",
		"trailers": "5\r\nhello\r\n0\r\nContent-Length: 50\r\nX-A: b\r\n\r\n",
	} {
		out["chunks: "+what] = forged{method: "POST", fields: []pair{{"transfer-encoding", "chunked"}}, body: []string{chunks}, want: "hello", only: "1"}
	}
	for name, f := range out {
		if f.method == "" {
			f.method = "GET"
		}
		if f.path == "" {
			f.path = "/page?a=b"
		}
		if f.host == "" {
			f.host = "shop.example"
		}
		out[name] = f
	}
	return out
}

// all returns the request as HTTP/2 and HTTP/3 have it.
func (f *forged) all() []pair {
	return append([]pair{{":method", f.method}, {":scheme", "https"}, {":authority", f.host}, {":path", f.path}}, f.fields...)
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

// TestOneRequestInAtMostOneOut: whatever a client sends, over whichever protocol, a server
// behind gets one request that means the same, or none.
func TestOneRequestInAtMostOneOut(t *testing.T) {
	c := newClerk(t)
	apps, err := balancer.New(balancer.Backends(c.url), balancer.Options{Via: balancer.NoVia, Logger: slog.New(slog.DiscardHandler)})
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
	got, noise := c.take()
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
	if len(sent) < 200 {
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
