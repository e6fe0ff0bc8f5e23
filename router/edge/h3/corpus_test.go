package h3_test

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// A row is one of the corpus of admin-path bypasses, which the comment on top of it
// describes.
type row struct {
	where, target, class, want string
	method, host               string
	fields                     []pair
	body                       string
}

func readCorpus(t *testing.T, files ...string) (rows []row) {
	t.Helper()
	hexByte := regexp.MustCompile(`<[0-9A-F]{2}>`)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range strings.Split(string(text), "\n") {
			col := strings.Split(line, "\t")
			if len(col) != 4 {
				continue // a comment; more than 300 rows are asked for below
			}
			r := row{where: name + ":" + strconv.Itoa(n+1), class: col[2], want: col[3], method: "GET", host: "shop.example"}
			r.target = hexByte.ReplaceAllStringFunc(col[0], func(s string) string {
				b, _ := hex.DecodeString(s[1:3]) // the expression lets nothing else through
				return string(b)
			})
			for _, extra := range strings.Split(col[1], " && ") {
				name, value, _ := strings.Cut(strings.TrimPrefix(extra, ":"), ": ")
				switch {
				case extra == "-":
				case strings.HasPrefix(extra, ":method"):
					r.method = value
				case strings.HasPrefix(extra, ":host"):
					r.host = value
				default:
					r.fields = append(r.fields, pair{strings.ToLower(name), value})
				}
			}
			if strings.Contains(col[1], "Content-Length: 5") {
				r.body = "hello"
			}
			rows = append(rows, r)
		}
	}
	return rows
}

// says reports whether HTTP/3 can say what the row says: else it may be refused, but not
// be served by others than the row wants.
func (r *row) says() bool {
	for _, f := range r.fields {
		switch f.name {
		case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "host", "te":
			return false
		}
	}
	return r.method != "CONNECT" && strings.HasPrefix(r.target, "/") && r.class != "leading-blank" && r.class != "framing"
}

// A witness is a server that remembers what reached it.
type witness struct {
	*httptest.Server
	mu  sync.Mutex
	got []*http.Request
}

func newWitness(t *testing.T) *witness {
	w := new(witness)
	w.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.got = append(w.got, r)
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *witness) take() []*http.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.got
	w.got = nil
	return got
}

func (w *witness) proxy(t *testing.T) http.Handler {
	at, err := url.Parse(w.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{Rewrite: func(pr *httputil.ProxyRequest) {
		pr.SetURL(at)
		pr.Out.Host = pr.In.Host
	}}
}

// TestCorpus sends the corpus of bypasses over HTTP/3, as bytes.
func TestCorpus(t *testing.T) {
	origin, apps := newWitness(t), newWitness(t)
	rules, err := router.New(router.Options{},
		router.Rule{Name: "admin", When: router.Admin("/admin"), To: origin.proxy(t)},
		router.Rule{Name: "shop", To: apps.proxy(t)},
	)
	if err != nil {
		t.Fatal(err)
	}
	f := serve(t, rules, edge.Options{})
	c := f.dial(t, nil)
	said := 0
	for _, r := range readCorpus(t, "../../testdata/bypass-corpus.txt", "../../testdata/more-corpus.txt") {
		fields := append([]pair{{":method", r.method}, {":scheme", "https"}, {":authority", r.host}, {":path", r.target}}, r.fields...)
		var body []string
		if r.body != "" {
			body = []string{r.body}
		}
		a, err := c.ask(fields, body...)
		atOrigin, atApps := origin.take(), apps.take()
		bad := false
		switch r.want {
		case "admin":
			bad = len(atApps) != 0 || r.says() && len(atOrigin) != 1
		case "other":
			bad = len(atOrigin) != 0 || r.says() && len(atApps) != 1
		default:
			bad = len(atOrigin)+len(atApps) != 0
		}
		if r.says() {
			said++
		}
		if bad {
			t.Errorf("%s, %s: %s %q %q: %d, %v, origin %d, apps %d: want %s", r.where, r.class, r.method, r.target, r.fields, a.status, err, len(atOrigin), len(atApps), r.want)
		}
		for _, got := range append(atOrigin, atApps...) {
			for _, sent := range r.fields {
				if !strings.HasPrefix(r.class, "strip-") || sent.name == "x-forwarded-for" {
					continue // which the test's own proxy makes of its client's address
				}
				for _, v := range got.Header.Values(sent.name) {
					if v == sent.value {
						t.Errorf("%s, %s: %s: %s reached a server", r.where, r.class, sent.name, v)
					}
				}
			}
		}
	}
	if said < 240 {
		t.Errorf("only %d rows were said", said)
	}
}
