package trial

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestRequest(t *testing.T) {
	r, err := (&Request{
		Method: "PURGE", Target: "https://shop.example/a%2Fb?c", Client: "2001:db8::1", Peer: "10.0.0.1:99",
		Fields: []string{"Soft-Purge: 1"}, Body: "x", Secure: true,
	}).HTTP(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Method != "PURGE" || r.Host != "shop.example" || r.RequestURI != "https://shop.example/a%2Fb?c" || r.RemoteAddr != "10.0.0.1:99" ||
		r.Header.Get("X-Forwarded-For") != "2001:db8::1" || r.Header.Get("Soft-Purge") != "1" || r.ContentLength != 1 || r.TLS == nil {
		t.Errorf("got %+v", r)
	}
	for name, q := range map[string]Request{
		"no target":  {Target: "x"},
		"no client":  {Target: "/", Client: "example.com"},
		"no peer":    {Target: "/", Peer: "10.0.0"},
		"two heads":  {Target: "/ HTTP/1.1\r\n\r\n"},
		"bad method": {Target: "/", Method: "A B"},
	} {
		if _, err := q.HTTP(t.Context()); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	for client, want := range map[string]string{"": "192.0.2.1:1024", "10.1.1.1": "10.1.1.1:1024", "[2001:db8::1]:5": "[2001:db8::1]:5"} {
		if r, err := (&Request{Target: "/", Client: client}).HTTP(t.Context()); err != nil || r.RemoteAddr != want {
			t.Errorf("%q: %v, %v", client, r, err)
		}
	}
}

func TestDiffers(t *testing.T) {
	a := Answer{Status: 301, Header: http.Header{"Location": {"/new"}, "X-Empty": {""}}, Body: strings.Repeat("moved ", 50)}
	cases := map[string]struct {
		want  Want
		lines []string // the beginning of each
	}{
		"nothing is wanted": {Want{}, nil},
		"all is as wanted":  {Want{301, "moved", []string{"location: /ne", "!X-Other", "X-Empty"}}, nil},
		"the status":        {Want{Status: 200}, []string{"status: got 301 Moved Permanently, want 200 OK"}},
		"the body":          {Want{Body: "gone"}, []string{`body: got "moved `}},
		"another value":     {Want{Has: []string{"Location: /old"}}, []string{`Location: got "/new", want "/old" in it`}},
		"a field too few":   {Want{Has: []string{"Etag: 1"}}, []string{`Etag: got no such field, want "1" in it`}},
		"any value":         {Want{Has: []string{"Etag"}}, []string{"Etag: got no such field, want one"}},
		"a field too many":  {Want{Has: []string{"!X-Empty"}}, []string{`X-Empty: got "", want no such field`}},
	}
	for name, c := range cases {
		got := c.want.Differs(a)
		if !slices.EqualFunc(got, c.lines, strings.HasPrefix) {
			t.Errorf("%s: got %q", name, got)
		}
	}
	broken := Want{Status: 200}
	if got := broken.Differs(Answer{}); len(got) != 1 || !strings.Contains(got[0], "broke off") {
		t.Errorf("broken off: %q", got)
	}
}

func TestAsk(t *testing.T) {
	r, err := (&Request{Target: "/"}).HTTP(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a := Ask(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), r); a.Status != 0 {
		t.Errorf("got %+v", a)
	}
	if a := Ask(http.NotFoundHandler(), r); a.Status != 404 {
		t.Errorf("got %+v", a)
	}
	defer func() {
		if recover() != "a fault" {
			t.Error("a fault was taken for an end")
		}
	}()
	Ask(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a fault") }), r)
}
