package http2_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/http2"
)

var limits = http1.Limits{Target: 100, Size: 400, Fields: 20, Cookies: 40}

// usual is what nearly all requests have.
const usual = ":method=GET :scheme=https :authority=shop.example :path=/a?b "

// parse reads a request from "name=value" separated by blanks; in values "_" is a blank,
// "\r" and "\n" are what they are elsewhere.
func parse(t testing.TB, text string, end bool) (*http.Request, error) {
	t.Helper()
	var r http2.Request
	for _, f := range strings.Split(strings.TrimSpace(text), " ") {
		name, value, _ := strings.Cut(f, "=")
		mend := strings.NewReplacer("_", " ", `\r`, "\r", `\n`, "\n", `\0`, "\x00")
		r.Add(mend.Replace(name), mend.Replace(value), &limits)
	}
	var head http1.Head
	if err := r.Parse(&head, &limits, end); err != nil {
		return nil, err
	}
	return head.Request(context.Background(), http.NoBody)
}

func TestRequests(t *testing.T) {
	r, err := parse(t, usual+"cookie=a=1 accept=*/* cookie=b=2 x-a=1 x-a=2", true)
	if err != nil {
		t.Fatal(err)
	}
	if r.Method != "GET" || r.Host != "shop.example" || r.RequestURI != "/a?b" || r.ContentLength != 0 ||
		r.Header.Get("Cookie") != "a=1; b=2" || len(r.Header["Cookie"]) != 1 || len(r.Header["X-A"]) != 2 || r.Header["Host"] != nil {
		t.Errorf("%+v", r)
	}
	for text, want := range map[string]string{
		":method=GET :scheme=https :path=/ host=b": "b", // of HTTP/1 by way of a proxy
		usual + "host=SHOP.example":                "shop.example",
	} {
		if r, err := parse(t, text, true); err != nil || r.Host != want {
			t.Errorf("%s: %v, %v", text, r, err)
		}
	}
	if r, err := parse(t, ":method=CONNECT :protocol=websocket :scheme=https :authority=a :path=/b", false); err != nil || r.Method != "GET" ||
		r.RequestURI != "/b" || r.Header.Get("Connection") != "Upgrade" || r.Header.Get("Upgrade") != "websocket" || r.ContentLength != 0 {
		t.Errorf("an extended CONNECT: %v, %v", r, err)
	}
	if r, err := parse(t, usual, false); err != nil || r.ContentLength != -1 || len(r.TransferEncoding) > 0 {
		t.Errorf("a body of unknown length: %v, %v", r, err)
	}
}

// TestNoRequests: what HTTP/2 does not have is malformed; what HTTP refuses is answered. In
// no case is something read that could be two requests at a backend.
func TestNoRequests(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		status int // 0: malformed
	}{
		"no method":                      {":scheme=https :authority=a :path=/", 0},
		"no scheme":                      {":method=GET :authority=a :path=/", 0},
		"another scheme":                 {":method=GET :scheme=ftp :authority=a :path=/", 0},
		"a scheme with a URL":            {":method=GET :scheme=https://b/admin? :authority=a :path=/", 0},
		"no path":                        {":method=GET :scheme=https :authority=a", 0},
		"no path's text":                 {":method=GET :scheme=https :authority=a :path=", 0},
		"no host":                        {":method=GET :scheme=https :path=/", 400},
		"twice a method":                 {usual + ":method=GET", 0},
		"twice an authority":             {":authority=b " + usual, 0},
		"pseudo behind a field":          {":method=GET :scheme=https :authority=a x=1 :path=/", 0},
		"unknown pseudo":                 {":a=b " + usual, 0},
		"a response's pseudo":            {":status=200 " + usual, 0},
		"upper case":                     {usual + "X-A=1", 0},
		"a colon in a name":              {usual + "a:b=1", 0},
		"a blank in a name":              {usual + "a_b=1", 0},
		"CR LF in a name":                {usual + `a:1\r\nb=1`, 0},
		"an empty name":                  {usual + "=1", 0},
		"LF in a value":                  {usual + `a=1\nb:2`, 0},
		"CR in a value":                  {usual + `a=1\rb:2`, 0},
		"NUL in a value":                 {usual + `a=1\0`, 0},
		"a blank before a value":         {usual + "a=_1", 0},
		"a blank behind a value":         {usual + "a=1_", 0},
		"a request in a cookie":          {usual + `cookie=a\r\n\r\nGET_/admin_HTTP/1.1\r\n`, 0},
		"a request in a path":            {`:method=GET :scheme=https :authority=a :path=/_HTTP/1.1\r\nHost:a\r\n\r\nGET_/admin`, 0},
		"a request in a method":          {`:method=GET_/admin_HTTP/1.1\r\nHost:_a\r\n\r\nGET :scheme=https :authority=a :path=/`, 0},
		"a request in a host":            {`:method=GET :scheme=https :authority=a\r\n\r\nGET_/admin :path=/`, 0},
		"a request in the field Host":    {`:method=GET :scheme=https :path=/ host=a\r\n\r\nGET_/admin`, 0},
		"a blank in a path":              {":method=GET :scheme=https :authority=a :path=/a_b", 0},
		"a path that is a URL":           {":method=GET :scheme=https :authority=a :path=https://b/", 0},
		"a path without slash":           {":method=GET :scheme=https :authority=a :path=a", 0},
		"* of OPTIONS":                   {":method=OPTIONS :scheme=https :authority=a :path=*", 400}, // as over HTTP/1.1
		"* of GET":                       {":method=GET :scheme=https :authority=a :path=*", 0},
		"Connection":                     {usual + "connection=close", 0},
		"Keep-Alive":                     {usual + "keep-alive=5", 0},
		"Proxy-Connection":               {usual + "proxy-connection=close", 0},
		"Transfer-Encoding":              {usual + "transfer-encoding=chunked", 0},
		"Upgrade":                        {usual + "upgrade=websocket", 0},
		"TE of more":                     {usual + "te=trailers,gzip", 0},
		"another Host":                   {usual + "host=b", 0},
		"two Hosts":                      {":method=GET :scheme=https :path=/ host=a host=b", 0},
		"an authority with a login":      {":method=GET :scheme=https :authority=u:p@a :path=/", 400},
		"a host of odd bytes":            {":method=GET :scheme=https :authority=a/b :path=/", 400},
		"two lengths":                    {usual + "content-length=0 content-length=0", 400},
		"a length that is none":          {usual + "content-length=+0", 400},
		"a length without a body":        {usual + "content-length=5", 0},
		"an escape that ends early":      {":method=GET :scheme=https :authority=a :path=/%2", 400},
		"an expectation":                 {usual + "expect=more", 417},
		"a path too long":                {":method=GET :scheme=https :authority=a :path=/" + strings.Repeat("a", 100), 414},
		"fields too large":               {usual + "a=" + strings.Repeat("a", 400), 431},
		"fields too large by far":        {usual + "a=" + strings.Repeat("a", 4000), 431},
		"too many fields":                {usual + strings.Repeat("a=1 ", 21), 431},
		"too many cookies":               {usual + "cookie=" + strings.Repeat("a;", 41), 431},
		"an odd method":                  {":method=G(ET :scheme=https :authority=a :path=/", 0},
		"CONNECT with a path":            {":method=CONNECT :authority=a:1 :path=/", 0},
		"CONNECT without an authority":   {":method=CONNECT", 0},
		":protocol of GET":               {usual + ":protocol=websocket", 0},
		":protocol without a path":       {":method=CONNECT :protocol=websocket :scheme=https :authority=a", 0},
		":protocol that is none":         {":method=CONNECT :protocol=a,b :scheme=https :authority=a :path=/", 0},
		"fields in a :protocol":          {`:method=CONNECT :protocol=a\r\nb:c :scheme=https :authority=a :path=/`, 0},
		":protocol and a length":         {":method=CONNECT :protocol=websocket :scheme=https :authority=a :path=/ content-length=5", 0},
		":protocol and an expectation":   {":method=CONNECT :protocol=websocket :scheme=https :authority=a :path=/ expect=100-continue", 0},
		"HTTP/1's own first line's end":  {`:method=GET :scheme=https :authority=a :path=/\r\nx:y`, 0},
		"a tab in a path":                {":method=GET :scheme=https :authority=a :path=/\ta", 0},
		"a control byte in a value":      {usual + "a=\x01", 400},
		"a byte beyond ASCII in a name":  {usual + "\xe4=1", 0},
		"DEL in a path":                  {":method=GET :scheme=https :authority=a :path=/\x7f", 0},
		"an underscore's cousin in path": {":method=GET :scheme=https :authority=a :path=/\x00", 0},
	} {
		_, err := parse(t, c.text, true)
		var no *http1.Refusal
		if c.status == 0 && (err == nil || errors.As(err, &no)) || c.status != 0 && (!errors.As(err, &no) || no.Status != c.status) {
			t.Errorf("%s: %#v", name, err)
		}
	}
}

// TestABombOfFieldsTakesLittle: of 60 MB no more is kept than may be asked.
func TestABombOfFieldsTakesLittle(t *testing.T) {
	large := strings.Repeat("b", 3900)
	kept := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			var r http2.Request
			for range 16_000 {
				r.Add("bomb", large, &limits)
			}
		}
	})
	if n := kept.AllocedBytesPerOp(); n > 64<<10 {
		t.Errorf("%d bytes are kept", n)
	}
}

// FuzzRequest: what is read has each of its strings from one field, and no line's end.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "https", "a", "/", "x-a", "1", "cookie", "b")
	f.Add("GET", "https", "a\r\nb: c", "/ HTTP/1.1\r\n", "host", "b", "a", "1\r\n\r\nGET /")
	f.Fuzz(func(t *testing.T, method, scheme, authority, path, name, value, name2, value2 string) {
		var r http2.Request
		for _, f := range [][2]string{{":method", method}, {":scheme", scheme}, {":authority", authority}, {":path", path}, {name, value}, {name2, value2}} {
			r.Add(f[0], f[1], &limits)
		}
		var head http1.Head
		if r.Parse(&head, &limits, true) != nil {
			return
		}
		if head.Method != method || head.Target != path && method != "CONNECT" || head.Len() > 3 {
			t.Fatalf("%q %q of %q %q, %d fields", head.Method, head.Target, method, path, head.Len())
		}
		for i := range head.Len() {
			_, n, v := head.Field(i)
			if strings.ContainsAny(n+v, "\r\n\x00") || (v != authority && v != value && v != value2 && v != value+"; "+value2) {
				t.Fatalf("field %q: %q", n, v)
			}
		}
	})
}

// BenchmarkRequest reads what a browser sends.
func BenchmarkRequest(b *testing.B) {
	fields := [][2]string{{":method", "GET"}, {":authority", "shop.example"}, {":scheme", "https"}, {":path", "/women/shoes?size=38"},
		{"user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"},
		{"accept", "text/html,application/xhtml+xml"}, {"accept-encoding", "gzip, deflate, br, zstd"}, {"accept-language", "de-DE,de;q=0.9"},
		{"sec-fetch-mode", "navigate"}, {"sec-fetch-site", "none"}, {"cookie", "a=0123456789"}, {"cookie", "b=0123456789"}}
	var r http2.Request
	var head http1.Head
	lim := http1.Limits{Target: 8000, Size: 32 << 10, Fields: 256, Cookies: 512}
	b.ReportAllocs()
	for b.Loop() {
		r.Reset()
		for _, f := range fields {
			r.Add(f[0], f[1], &lim)
		}
		if err := r.Parse(&head, &lim, true); err != nil {
			b.Fatal(err)
		}
	}
}
