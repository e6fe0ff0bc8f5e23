package fields

import (
	"net/http"
	"reflect"
	"slices"
	"testing"
)

func TestClean(t *testing.T) {
	cases := map[string]struct {
		trusted  bool
		in, want http.Header
	}{
		"a browser's request stays": {
			in:   http.Header{"Accept": {"*/*"}, "Cookie": {"a=1"}, "Connection": {"keep-alive"}},
			want: http.Header{"Accept": {"*/*"}, "Cookie": {"a=1"}, "Connection": {"keep-alive"}},
		},
		"claims of an untrusted peer": {
			in: http.Header{"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {"for=127.0.0.1"},
				"X-Real-Ip": {"127.0.0.1"}, "X-Request-Id": {"x"}, "X-Forwarded": {"for=127.0.0.1"}, "Front-End-Https": {"on"}, "X-Originating-Ip": {"127.0.0.1"},
				"Forwarded-For": {"127.0.0.1"}, "Cf-Visitor": {`{"scheme":"https"}`}, "Https": {"on"}, "Client-Cert": {":aGk=:"}},
			want: http.Header{},
		},
		"claims of a trusted peer": {
			trusted: true,
			in: http.Header{"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Prefix": {"/admin"}, "X-Request-Id": {"x"}, "X-Forwarded-Host": {"evil"},
				"X-Forwarded-Port": {"1"}, "Forwarded": {"host=evil"}, "X-Forwarded": {"evil"}, "Front-End-Https": {"on"}, "X-Url-Scheme": {"https"}},
			want: http.Header{"X-Forwarded-For": {"192.0.2.1"}, "X-Request-Id": {"x"}},
		},
		"path and method overrides, even trusted": {
			trusted: true,
			in: http.Header{"X-Original-Url": {"/admin"}, "X-Rewrite-Url": {"/admin"}, "X-Http-Method-Override": {"DELETE"},
				"Unencoded-Url": {"/admin"}, "Iis-Wasurlrewritten": {"1"}, "Proxy": {"http://evil.example"}, "X-Original-Thing": {"1"},
				"X-Http-Host-Override": {"evil.example"}, "X-Script-Name": {"/admin"}},
			want: http.Header{},
		},
		"names that CGI would confuse": {
			in:   http.Header{"X_forwarded_for": {"127.0.0.1"}, "X.original.url": {"/admin"}, "": {"x"}},
			want: http.Header{},
		},
		"other spellings": {
			trusted: true,
			in:      http.Header{"x-original-url": {"/admin"}, "X-FORWARDED-FOR": {"127.0.0.1"}, "proxy": {"x"}, "upgrade": {"h2c"}, "connection": {"Upgrade"}, "x-mine": {"1"}},
			want:    http.Header{"x-mine": {"1"}},
		},
		"websocket": {
			in:   http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}},
			want: http.Header{"Upgrade": {"websocket"}, "Connection": {"upgrade"}},
		},
		"h2c": {
			in:   http.Header{"Upgrade": {"h2c"}, "Connection": {"Upgrade, HTTP2-Settings"}, "Http2-Settings": {"AAMA"}},
			want: http.Header{},
		},
		"an upgrade to what is a websocket to Unicode only": {
			in:   http.Header{"Upgrade": {"web\u017foc\u212aet"}, "Connection": {"Upgrade"}},
			want: http.Header{},
		},
		"an option that is none": {
			in:   http.Header{"Connection": {"clo\u017fe"}},
			want: http.Header{},
		},
		"two upgrades": {
			in:   http.Header{"Upgrade": {"websocket, h2c"}, "Connection": {"Upgrade"}},
			want: http.Header{},
		},
		"hop-by-hop abuse": {
			in:   http.Header{"Connection": {"close, Cookie", "Authorization"}, "Cookie": {"a=1"}, "Authorization": {"x"}},
			want: http.Header{"Connection": {"close"}, "Cookie": {"a=1"}, "Authorization": {"x"}},
		},
		"for one connection": {
			in:   http.Header{"Connection": {"close, x-a", "X-B,,"}, "X-A": {"1"}, "X-B": {"1"}, "X-C": {"1"}, "Close": {"1"}},
			want: http.Header{"Connection": {"close"}, "X-C": {"1"}, "Close": {"1"}},
		},
		"what a trusted proxy says of its client": {
			trusted: true,
			in:      http.Header{"Connection": {"X-Forwarded-For, X-Forwarded-Proto"}, "X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"}},
			want:    http.Header{"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"}},
		},
		"gRPC": {
			in:   http.Header{"Te": {"trailers"}, "Connection": {"te"}},
			want: http.Header{"Te": {"trailers"}, "Connection": {"te"}},
		},
		"expect": {in: http.Header{"Expect": {"100-continue"}}, want: http.Header{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			Clean(c.in, c.trusted)
			if !reflect.DeepEqual(c.in, c.want) {
				t.Errorf("got %v, want %v", c.in, c.want)
			}
		})
	}
}

func TestRemoveHopByHop(t *testing.T) {
	h := http.Header{"Connection": {"close, X-Mine"}, "X-Mine": {"1"}, "Keep-Alive": {"timeout=5"}, "Etag": {`"a"`}}
	RemoveHopByHop(h)
	if want := (http.Header{"Etag": {`"a"`}}); !reflect.DeepEqual(h, want) {
		t.Errorf("got %v, want %v", h, want)
	}
}

// TestAddEndToEnd: it copies what RemoveHopByHop leaves, and changes nothing.
func TestAddEndToEnd(t *testing.T) {
	for _, connection := range [][]string{nil, {"keep-alive"}, {"close, X-Mine"}, {"Keep-Alive,, x-mine", "etag"}} {
		from := http.Header{"X-Mine": {"1"}, "Keep-Alive": {"timeout=5"}, "Te": {"trailers"}, "Etag": {`"a"`, `"b"`}, "Close": {"x"}}
		if connection != nil {
			from["Connection"] = connection
		}
		before, want, got := from.Clone(), from.Clone(), http.Header{"Via": {"x"}}
		RemoveHopByHop(want)
		want["Via"] = []string{"x"}
		if AddEndToEnd(got, from); !reflect.DeepEqual(got, want) {
			t.Errorf("Connection: %q: got %v, want %v", connection, got, want)
		}
		if !reflect.DeepEqual(from, before) {
			t.Errorf("Connection: %q: changed to %v", connection, from)
		}
	}
}

func TestDropCookies(t *testing.T) {
	drop := func(name string) bool { return name == "pin" }
	cases := map[string]struct {
		in, want []string
	}{
		"none":             {nil, nil},
		"only ours":        {[]string{"pin=1"}, nil},
		"kept to the byte": {[]string{`a="x y";b=2`}, []string{`a="x y";b=2`}},
		"first":            {[]string{"pin=1; a=2"}, []string{"a=2"}},
		"twice":            {[]string{"a=1; pin=1; b=2;pin=3"}, []string{"a=1; b=2"}},
		"several lines":    {[]string{"pin=1", "a=1"}, []string{"a=1"}},
		"no value":         {[]string{"pin; a"}, []string{"a"}},
		"spaces":           {[]string{" pin = 1 ; a=1"}, []string{"a=1"}},
		"empty":            {[]string{"; ;"}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			if c.in != nil {
				h["Cookie"] = c.in
			}
			left := DropCookies(h, drop)
			if !reflect.DeepEqual(h["Cookie"], c.want) || left != (c.want != nil) {
				t.Errorf("got %q %t, want %q", h["Cookie"], left, c.want)
			}
		})
	}
}

func TestCookies(t *testing.T) {
	h := http.Header{"Cookie": {`a=1;b="2"; cart={"sku":1} ;;`, ` c ; a = 3`, "=4"}}
	var got []string
	for name, pair := range Cookies(h) {
		got = append(got, name+"|"+pair)
	}
	want := []string{"a|a=1", `b|b="2"`, `cart|cart={"sku":1}`, "c|c", "a|a = 3", "|=4"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for range Cookies(h) {
		break // must be no panic
	}
}

// TestCookie: the tier's own cookies are read as browsers mean them, to whom a
// pair without an equals sign has no name; a backend may think otherwise, so that
// [Cookies] yields it.
func TestCookie(t *testing.T) {
	cases := []struct {
		line, value string
		n           int
	}{
		{"", "", 0},
		{"a=1; sid=2", "2", 1},
		{`sid = "2" ;a=1`, "2", 1},
		{`sid=""2""`, `"2"`, 1},
		{"sid=2; sid=3", "3", 2},
		{"sid=", "", 1},
		{"sid", "", 0},
		{"SID=2; xsid=3; sid2=4", "", 0},
	}
	for _, c := range cases {
		h := http.Header{"Cookie": {"b=2", c.line}}
		if value, n := Cookie(h, "sid"); value != c.value || n != c.n {
			t.Errorf("%q: %q of %d, want %q of %d", c.line, value, n, c.value, c.n)
		}
	}
	h := http.Header{"Cookie": {`a=1; sid="2"; b=3`}}
	if testing.AllocsPerRun(10, func() { Cookie(h, "sid") }) != 0 {
		t.Error("to read a cookie allocates")
	}
}
