package edge_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// What somebody has ordered is no failure, whatever its status: maintenance is
// not an alarm for every visitor.
func TestOrderedAnswersAreNoFailures(t *testing.T) {
	broken := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { transit.Fail(w, r, 503, errors.New("broken")) })
	front, err := router.New(router.Options{},
		router.Rule{Name: "closed", When: router.Path("/closed"), To: router.Maintenance(time.Minute)},
		router.Rule{Name: "broken", When: router.Path("/broken"), To: broken},
		router.Rule{Name: "rest", To: http.NotFoundHandler()})
	if err != nil {
		t.Fatal(err)
	}
	for _, quiet := range []bool{false, true} {
		var log lines
		srv := serve(t, front, edge.Options{Logger: log.Logger(), NoAccessLog: quiet})
		for _, path := range []string{"/closed", "/broken"} {
			res, err := http.Get("http://" + srv.Addr().String() + path)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != 503 {
				t.Errorf("%s: %s", path, res.Status)
			}
		}
		want := 2
		if quiet {
			want = 1 // what the tier could not serve
		}
		waitFor(t, func() bool { return len(log.all(t)) == want })
		for _, line := range log.all(t) {
			closed := line["target"] == "/closed"
			if (line["level"] == "INFO") != closed || (line["msg"] == "request") != closed || line["status"] != 503.0 || !strings.Contains(line["cause"].(string), ":") && closed {
				t.Errorf("quiet %t: %v", quiet, line)
			}
		}
	}
}

// A client that wants only what is stored has asked for its 504.
func TestOnlyIfCachedIsNoFailure(t *testing.T) {
	anybody := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	pages, err := cache.New(cache.Options{Orders: anybody})
	if err != nil {
		t.Fatal(err)
	}
	defer pages.Close()
	var log lines
	srv, err := edge.New(pages.Handler(http.NotFoundHandler()), edge.Options{Addr: "127.0.0.1:0", Logger: log.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cache-Control", "only-if-cached")
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	if line := log.all(t)[0]; w.Code != 504 || line["level"] != "INFO" || line["msg"] != "request" {
		t.Errorf("%d: %v", w.Code, line)
	}
}

// Durations are in seconds, and the server says when and where it serves.
func TestLogSaysWhereAndHowLong(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "http", true: "https"}[secure], func(t *testing.T) {
			var log lines
			opts := edge.Options{Logger: log.Logger()}
			var err error
			if secure {
				if opts.Certificates, err = edge.Certificates(pair(t, t.TempDir(), "a.example", time.Now().Add(time.Hour))); err != nil {
					t.Fatal(err)
				}
			}
			var srv *edge.Server
			t.Cleanup(func() {
				if !strings.Contains(log.String(), `"msg":"draining","addr":"`+srv.Addr().String()+`","linger_s":0,"drain_s":30`) {
					t.Error("it does not say that it drains")
				}
			})
			srv = serve(t, http.NotFoundHandler(), opts)
			w := httptest.NewRecorder()
			srv.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			log.Wants(t, `"msg":"serving"`)
			log.Wants(t, `"msg":"request"`)
			scheme := map[bool]string{false: "http", true: "https"}[secure]
			if !strings.Contains(log.String(), `"msg":"serving","addr":"`+srv.Addr().String()+`","scheme":"`+scheme+`"`) {
				t.Error("it does not say where it serves")
			}
			line := requests(log.all(t))[0]
			if took, ok := line["took_s"].(float64); !ok || took < 0 || took > 60 || line["took"] != nil {
				t.Errorf("how long: %v", line)
			}
		})
	}
}

func TestCombinedLog(t *testing.T) {
	var combined, log lines
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fail" {
			transit.Fail(w, r, 502, errors.New("refused"))
			return
		}
		io.WriteString(w, "hello")
	})
	srv := serve(t, h, edge.Options{Combined: &combined, AnonymousLog: true, Logger: log.Logger(), Trusted: loopback})
	for _, r := range []string{
		"GET /a?b HTTP/1.1\r\nHost: a\r\nReferer: http://x/\"\r\nUser-Agent: \xff\\\r\nX-Forwarded-For: 203.0.113.77\r\n",
		"GET /fail HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 2001:db8:1:2::3\r\n",
	} {
		ask(t, srv.Addr().String(), r+"Connection: close\r\n\r\n")
	}
	waitFor(t, func() bool { return strings.Count(combined.String(), "\n") >= 2 }) // no answer waits for its line
	got := combined.String()
	var parts []string
	for line := range strings.Lines(got) {
		before, rest, _ := strings.Cut(line, "[")
		_, after, _ := strings.Cut(rest, "]")
		parts = append(parts, before+after)
	}
	want := `203.0.113.0 - -  "GET /a?b HTTP/1.1" 200 5 "http://x/\x22" "\xff\x5c"` + "\n" +
		`2001:db8:1:: - -  "GET /fail HTTP/1.1" 502 16 "-" "-"` + "\n"
	if strings.Join(parts, "") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(parts, ""), want)
	}
	if all := log.all(t); len(all) != 1 || all[0]["cause"] != "refused" || all[0]["client"] != "2001:db8:1::" {
		t.Errorf("log: %v", all)
	}
}
