package acme

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/router/edge"
)

var _ edge.Issuer = (*Manager)(nil)

func TestOptions(t *testing.T) {
	good := Options{Hosts: []string{"shop.example"}, Storage: Folder(t.TempDir())}
	for name, c := range map[string]struct {
		edit func(*Options)
		want string // of the error; empty: there is none
	}{
		"nothing else":              {func(*Options) {}, ""},
		"several hosts":             {func(o *Options) { o.Hosts = []string{"shop.example", "www.shop.example", "xn--bcher-kva.example"} }, ""},
		"capitals":                  {func(o *Options) { o.Hosts = []string{"Shop.Example"} }, ""},
		"staging":                   {func(o *Options) { o.Directory = LetsEncryptStaging }, ""},
		"an account":                {func(o *Options) { o.KeyID, o.MACKey = "kid", "bWFj" }, ""},
		"HTTP alone":                {func(o *Options) { o.TLSPort = -1 }, ""},
		"no storage":                {func(o *Options) { o.Storage = nil }, "acme.Folder"},
		"no hosts":                  {func(o *Options) { o.Hosts = nil }, "no Hosts"},
		"a wildcard":                {func(o *Options) { o.Hosts = []string{"*.shop.example"} }, "certificate of your own"},
		"an address":                {func(o *Options) { o.Hosts = []string{"192.0.2.1"} }, "is an address"},
		"an address of IPv6":        {func(o *Options) { o.Hosts = []string{"[2001:db8::1]"} }, "is an address"},
		"a port":                    {func(o *Options) { o.Hosts = []string{"shop.example:443"} }, "without scheme and port"},
		"a URL":                     {func(o *Options) { o.Hosts = []string{"https://shop.example"} }, "without scheme and port"},
		"one label":                 {func(o *Options) { o.Hosts = []string{"shop"} }, "is no name"},
		"a blank":                   {func(o *Options) { o.Hosts = []string{"shop .example"} }, "is no name"},
		"a dot at its end":          {func(o *Options) { o.Hosts = []string{"shop.example."} }, "is no name"},
		"an empty one":              {func(o *Options) { o.Hosts = []string{""} }, "is no name"},
		"letters that are no ASCII": {func(o *Options) { o.Hosts = []string{"bücher.example"} }, "is no name"},
		"twice":                     {func(o *Options) { o.Hosts = []string{"shop.example", "SHOP.example"} }, "twice"},
		"an authority by http":      {func(o *Options) { o.Directory = "http://ca.example/dir" }, "URL of an authority"},
		"an authority by name":      {func(o *Options) { o.Directory = "letsencrypt" }, "URL of an authority"},
		"half an account":           {func(o *Options) { o.KeyID = "kid" }, "want both"},
		"no challenge":              {func(o *Options) { o.HTTPPort, o.TLSPort = -1, -1 }, "at least one"},
		"a port too many":           {func(o *Options) { o.HTTPPort = 65536 }, "up to 65535"},
		"a time before":             {func(o *Options) { o.Check = -time.Second }, "Check"},
	} {
		t.Run(name, func(t *testing.T) {
			opts := good
			c.edit(&opts)
			m, err := New(opts)
			switch {
			case err == nil:
				defer m.Close()
				if c.want != "" {
					t.Error("no error")
				}
			case c.want == "" || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "acme: "):
				t.Errorf("%v, want %q in it", err, c.want)
			}
		})
	}
}

// TestOthersChallengesAreOthers: what is not under way here goes on, as another
// client's challenges behind the tier must, and costs the storage nothing where it
// can be none of ours.
func TestOthersChallengesAreOthers(t *testing.T) {
	storage := &counted{Storage: Folder(t.TempDir())}
	m, err := New(Options{Hosts: []string{"shop.example"}, Storage: storage})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "next") }))
	for target, looks := range map[string]int{
		"GET http://shop.example/":                                         0,
		"GET http://shop.example/.well-known/acme-challenge/":              0,
		"GET http://shop.example/.well-known/acme-challenge/a/b":           0,
		"GET http://shop.example/.well-known/acme-challenge/..":            1,
		"GET http://shop.example/.well-known/acme-challenge/token":         1,
		"GET http://SHOP.example:80/.well-known/acme-challenge/token":      1,
		"GET http://other.example/.well-known/acme-challenge/token":        0,
		"POST http://shop.example/.well-known/acme-challenge/token":        0,
		"GET http://shop.example/x/.well-known/acme-challenge/token":       0,
		"GET http://shop.example/.well-known/acme-challenge/%3Cscript%3E":  0,
		"GET http://shop.example/.well-known/acme-challenge/a%0d%0aX:%20y": 0,
	} {
		method, url, _ := strings.Cut(target, " ")
		before := storage.loads
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, url, nil))
		if w.Body.String() != "next" || storage.loads-before != looks {
			t.Errorf("%s: %q, and the storage was asked %d times, want %d", target, w.Body, storage.loads-before, looks)
		}
	}
	// However many look at once, one more is not let in.
	for range maxLooks {
		m.look()
	}
	before := storage.loads
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "http://shop.example/.well-known/acme-challenge/token", nil))
	if w.Body.String() != "next" || storage.loads != before {
		t.Errorf("%q, and the storage was asked", w.Body)
	}
	challenge := &tls.ClientHelloInfo{ServerName: "shop.example", SupportedProtos: []string{acmez.ACMETLS1Protocol}}
	if cert, err := m.Certificate(challenge); cert != nil || !errors.Is(err, errCrowd) {
		t.Errorf("%v, %v", cert, err)
	}
	if d := h.(health.Explainer).Explain(httptest.NewRequest("GET", "http://shop.example/.well-known/acme-challenge/token", nil)); d.Part != "acme" {
		t.Errorf("%v", d)
	}
}

// counted counts what is loaded.
type counted struct {
	Storage
	loads int
}

func (c *counted) Load(context.Context, string) ([]byte, error) {
	c.loads++
	return nil, fs.ErrNotExist
}

// TestNothingIsIssuedYet: clients are left to others' certificates, and the report says
// so.
func TestNothingIsIssuedYet(t *testing.T) {
	m, err := New(Options{Hosts: []string{"shop.example", "www.shop.example"}, Storage: Folder(t.TempDir())})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"shop.example", "SHOP.EXAMPLE", "other.example", ""} {
		if cert, err := m.Certificate(&tls.ClientHelloInfo{ServerName: name, SupportedProtos: []string{"h2"}}); cert != nil || err != nil {
			t.Errorf("%q: %v, %v", name, cert, err)
		}
	}
	m.failure("www.shop.example", errors.New("the authority says no"))
	if r := m.Report(); r.State != health.Degraded || r.Why != "no certificate yet for shop.example; no certificate yet for www.shop.example: the authority says no" {
		t.Errorf("%v: %s", r.State, r.Why)
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestDefaults: what the fields' comments promise.
func TestDefaults(t *testing.T) {
	o, err := Options{Hosts: []string{"Shop.example"}, Storage: Folder(t.TempDir())}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if o.Directory != LetsEncrypt || o.HTTPPort != 80 || o.TLSPort != 443 || o.Check != 10*time.Minute || o.Logger == nil || o.Hosts[0] != "shop.example" {
		t.Errorf("%+v", o)
	}
}
