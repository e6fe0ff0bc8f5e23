package balancer

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/foretier/foretier/internal/testkit"
)

// A play is an exchange that both ways have to carry alike: what a client sends, and
// what the backends answer, whichever is asked, one attempt after the other. What is
// not there of an answer is cut off by the end of its connection.
type play struct {
	request string
	answers []string
}

// A carried is all that the two sides of an exchange have seen of it, and what the pool
// has made of it.
type carried struct {
	asked    []string // by the pool, in the order of the attempts
	told     []string // to the client: each head
	body     string
	broken   bool // the client can tell that the body is not whole
	trailer  string
	evidence string
	log      string
}

func (p play) carry(t *testing.T, standard bool) carried {
	t.Helper()
	var got carried
	var mu sync.Mutex // guards got.asked and next
	next := 0
	serve := func(c net.Conn) {
		defer c.Close() // what it has written is all of it
		var raw bytes.Buffer
		r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(c, &raw)))
		if err != nil {
			return
		}
		head, _, _ := strings.Cut(raw.String(), "\r\n\r\n")
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		got.asked = append(got.asked, fmt.Sprintf("%s\n%q %v %v", sortedHead(head), body, err, r.Trailer))
		answer := ""
		if next < len(p.answers) {
			answer = p.answers[next]
		}
		next++
		mu.Unlock()
		_, _ = io.WriteString(c, answer)
	}
	var urls []string
	for range 2 {
		ln := testkit.Listen(t)
		defer ln.Close()
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go serve(c)
			}
		}()
		urls = append(urls, "http://"+ln.Addr().String())
	}
	var log bytes.Buffer
	backends := Backends(urls...)
	backends[0].Name, backends[1].Name = "a", "b"
	pool := newPool(t, backends, Options{Policy: First(), Via: "tier", Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: sameLog}))})
	pool.standard = standard
	pool.depot.hold = patience // that of a slow machine makes no difference
	front := httptest.NewServer(pool)
	client := testkit.Dial(t, front.Listener.Addr().String())
	defer client.Close()
	if _, err := io.WriteString(client, p.request); err != nil {
		t.Fatal(err)
	}
	got.listen(client, p.request[:strings.Index(p.request, " ")])
	front.Close()
	for _, s := range pool.Backends() {
		got.evidence += fmt.Sprintln(s.Name, s.Requests, s.Failures, s.InFlight, s.State)
	}
	got.evidence += fmt.Sprintln(pool.retried.metrics(), pool.inflight.Load())
	mu.Lock()
	defer mu.Unlock()
	got.log = log.String()
	return got
}

// sameLog leaves out of the log what differs each time.
func sameLog(_ []string, a slog.Attr) slog.Attr {
	switch a.Key {
	case slog.TimeKey:
		return slog.Attr{}
	case "pool":
		return slog.String(a.Key, strings.Join(strings.FieldsFunc(a.Value.Resolve().String(), func(r rune) bool { return r == '.' || '0' <= r && r <= '9' }), "#"))
	case "err":
		text := a.Value.String()
		for _, word := range strings.Fields(text) {
			if strings.Contains(word, "127.0.0.1:") {
				text = strings.ReplaceAll(text, word, "#")
			}
		}
		return slog.String(a.Key, text)
	}
	return a
}

func (got *carried) listen(c net.Conn, method string) {
	var raw bytes.Buffer
	in := bufio.NewReader(io.TeeReader(c, &raw))
	for {
		// A head is read byte by byte, so that raw has no more than that.
		var head []byte
		for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
			b, err := in.ReadByte()
			if err != nil {
				got.told = append(got.told, "nothing")
				return
			}
			head = append(head, b)
		}
		got.told = append(got.told, sortedHead(strings.TrimSuffix(string(head), "\r\n\r\n")))
		if bytes.HasPrefix(head, []byte("HTTP/1.1 1")) {
			continue
		}
		res, err := http.ReadResponse(bufio.NewReader(io.MultiReader(bytes.NewReader(head), in)), &http.Request{Method: method})
		if err != nil {
			got.told = append(got.told, err.Error())
			return
		}
		body, err := io.ReadAll(res.Body)
		got.body, got.broken, got.trailer = string(body), err != nil, fmt.Sprint(res.Trailer)
		return
	}
}

// sortedHead returns a head with its fields in order, without Date, and with the lists
// whose order is nobody's in theirs.
func sortedHead(head string) string {
	lines := strings.Split(head, "\r\n")
	fields := lines[1:]
	fields = slices.DeleteFunc(fields, func(line string) bool { return strings.HasPrefix(line, "Date: ") })
	for i, line := range fields {
		if names, ok := strings.CutPrefix(line, "Trailer: "); ok {
			list := strings.Split(names, ", ")
			slices.Sort(list)
			fields[i] = "Trailer: " + strings.Join(list, ", ")
		}
	}
	slices.Sort(fields)
	return lines[0] + "\n" + strings.Join(fields, "\n")
}

// alike holds that p is carried alike by both ways.
func (p play) alike(t *testing.T) carried {
	t.Helper()
	own, standard := p.carry(t, false), p.carry(t, true)
	same := own
	if own.body == "" && standard.body == "" && len(p.answers) > 0 {
		// ReverseProxy flushes the head of a body without a length by a timer: if
		// nothing comes, that may be early enough or not.
		same.unframe()
		standard.unframe()
	}
	if own.broken && standard.silent() && own.body == "" { // the same timer
		same.hush()
	} else if standard.broken && own.silent() && standard.body == "" {
		standard.hush()
	}
	if same.broken && standard.broken { // how much of it came is a matter of time
		same.body = standard.body
	}
	if fmt.Sprintf("%q", same) != fmt.Sprintf("%q", standard) {
		t.Errorf("%q\n%q:\nthe pool's own way: %s\nReverseProxy:       %s", p.request, p.answers, own, standard)
	}
	return own
}

// silent reports whether no final answer came.
func (got *carried) silent() bool { return got.told[len(got.told)-1] == "nothing" }

// hush leaves the head of an answer out that broke off before its body.
func (got *carried) hush() {
	got.told = append(slices.Clone(got.told[:len(got.told)-1]), "nothing")
	got.broken, got.trailer = false, ""
}

// unframe leaves out how long the body is of the final answer, which has none.
func (got *carried) unframe() {
	last := &got.told[len(got.told)-1]
	for _, line := range []string{"Content-Length: 0", "Transfer-Encoding: chunked"} {
		*last = strings.Replace(*last, "\n"+line, "", 1)
	}
}

func (got carried) String() string {
	return fmt.Sprintf("asked %s\ntold %s\n%q broken %t trailer %s\n%s%s", got.asked, got.told, got.body, got.broken, got.trailer, got.evidence, got.log)
}

const getPage = "GET /a%2Fb?x=1;y HTTP/1.1\r\nHost: shop.example:8080\r\nAccept: */*\r\nConnection: close\r\n\r\n"

const page200 = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/html\r\n\r\nok"

func TestBothWaysCarryAlike(t *testing.T) {
	ask := func(head string) string {
		return strings.ReplaceAll(head, "\n", "\r\n")
	}
	post := func(fields, body string) string {
		return ask("POST / HTTP/1.1\nHost: shop.example\nConnection: close\n"+fields+"\n") + body
	}
	chunks := "1\r\nx\r\n2\r\nyz\r\n0\r\n"
	cases := map[string]play{
		"a page":                  {getPage, []string{page200}},
		"HEAD":                    {ask("HEAD / HTTP/1.1\nHost: a\nConnection: close\n\n"), []string{"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n"}},
		"HEAD, chunked":           {ask("HEAD / HTTP/1.1\nHost: a\nConnection: close\n\n"), []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"}},
		"HTTP/1.0":                {ask("GET / HTTP/1.0\n\n"), []string{page200}},
		"HTTP/1.0 with a host":    {ask("GET / HTTP/1.0\nHost: a\nConnection: keep-alive, upgrade\n\n"), []string{"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + page200}},
		"chunked":                 {getPage, []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + "\r\n"}},
		"announced trailers":      {getPage, []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A, X-B\r\nTrailer: x-c\r\n\r\n" + chunks + "X-A: 1\r\nX-A: 2\r\nX-B: 3\r\nx-C: 4\r\n\r\n"}},
		"some announced":          {getPage, []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n" + chunks + "X-A: 1\r\nX-B: 3\r\n\r\n"}},
		"unannounced":             {getPage, []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + "X-B: 3\r\n\r\n"}},
		"until the end":           {getPage, []string{"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nall of it"}},
		"old":                     {getPage, []string{"HTTP/1.0 200 Fine\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"}},
		"events":                  {getPage, []string{"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\ndata: 1\n\n"}},
		"events that break":       {getPage, []string{"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\nde"}},
		"unbuffered":              {getPage, []string{"HTTP/1.1 200 OK\r\nX-Accel-Buffering: no\r\nContent-Length: 9\r\n\r\nok"}},
		"no content":              {getPage, []string{"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n"}},
		"not modified":            {getPage, []string{"HTTP/1.1 304 Not Modified\r\nContent-Length: 40\r\nEtag: \"a\"\r\n\r\n"}},
		"hop-by-hop":              {getPage, []string{"HTTP/1.1 200 OK\r\nConnection: x-a, X-B\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nTe: a\r\nUpgrade: h2c\r\nX-A: 1\r\nx-b: 2\r\nX-C: 3\r\nContent-Length: 2\r\n\r\nok"}},
		"odd fields":              {getPage, []string{"HTTP/1.1 200 OK\nX-A: a\n b\nx-a:c\nX-Empty:\nSet-Cookie: a=1\nSet-Cookie: b=2\nPragma: no-cache\nX y: z\nServer: s\nContent-Length: 2\nContent-Length: 2\n\nok"}},
		"what nobody asked for":   {getPage, []string{"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", page200}},
		"informed":                {getPage, []string{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + page200}},
		"informed, and no answer": {getPage, []string{"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", page200}},
		"malformed":               {getPage, []string{"SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"}},
		"nothing":                 {getPage, nil},
		"sick, then well":         {getPage, []string{"HTTP/1.1 503 No\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n", page200}},
		"sick twice":              {getPage, []string{"HTTP/1.1 502 No\r\nContent-Length: 4\r\n\r\nsick", "HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\nworse"}},
		"an order that fails":     {post("Content-Length: 3\n", "abc"), []string{"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", page200}},
		"one that may be tried":   {post("Content-Length: 3\nIdempotency-Key: 1\n", "abc"), []string{"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", page200}},
		"no body":                 {post("Content-Length: 0\n", ""), []string{page200}},
		"a chunked upload":        {post("Transfer-Encoding: chunked\n", chunks+"\r\n"), []string{page200}},
		"a long one":              {post("Content-Length: 100000\n", strings.Repeat("x", 100000)), []string{page200}},
		"trailers":                {post("Transfer-Encoding: chunked\nTe: trailers, x\nTrailer: X-A, Cookie\n", chunks+"X-A: 1\r\nCookie: a\r\nX-B: 2\r\n\r\n"), []string{page200}},
		"fields that stay here":   {ask("GET / HTTP/1.1\nHost: a\nConnection: close, te, x-a\nTe: trailers\nX-A: 1\nKeep-Alive: 1\nProxy-Connection: a\nProxy-Authorization: b\nUser-Agent:\nX-Forwarded-For: 10.0.0.1\nForwarded: for=a\nX_Forwarded_For: 1\nX-Real-Ip: 1\nVia: 1.0 fred\nCookie: a=1\nCookie: b=2\n\n"), []string{page200}},
		"a last hop but one":      {ask("OPTIONS * HTTP/1.1\nHost: a\nMax-Forwards: 2\nConnection: close\n\n"), []string{page200}},
		"an odd target":           {ask("GET //a/{b}/%7bc?q={d} HTTP/1.1\nHost: a\nConnection: close\n\n"), []string{page200}},
		"a login":                 {ask("GET / HTTP/1.1\nHost: a\nAuthorization: NTLM abc\nConnection: close\n\n"), []string{"HTTP/1.1 401 No\r\nWww-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"}},
		"a loop":                  {ask("GET / HTTP/1.1\nHost: a\nVia: 1.1 tier\nConnection: close\n\n"), nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { c.alike(t) })
	}
}

// TestBothWaysCarryAlikeWhatBreaks cuts answers at every byte, with a second backend
// and without.
func TestBothWaysCarryAlikeWhatBreaks(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 7
	}
	for name, whole := range map[string]string{
		"of a length": page200,
		"chunked":     "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-A: 1\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			for n := 0; n < len(whole); n += step {
				play{getPage, []string{whole[:n], page200}}.alike(t)
				play{getPage, []string{whole[:n], whole[:n]}}.alike(t)
			}
		})
	}
}

// TestBothWaysCarryAlikeWhateverComes makes exchanges up, the same each time unless
// FORETIER_SEED is another.
func TestBothWaysCarryAlikeWhateverComes(t *testing.T) {
	seed := uint64(1)
	if s := os.Getenv("FORETIER_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	one := func(list ...string) string { return list[rnd.IntN(len(list))] }
	some := func(list ...string) (s string) {
		for _, f := range list {
			if rnd.IntN(3) == 0 {
				s += f + "\r\n"
			}
		}
		return s
	}
	body := func() string { return strings.Repeat("x", []int{0, 1, 5, 3000, 70000}[rnd.IntN(5)]) }
	chunked := func(body string) string {
		s := ""
		for body != "" {
			n := 1 + rnd.IntN(len(body))
			s += fmt.Sprintf("%x\r\n%s\r\n", n, body[:n])
			body = body[n:]
		}
		return s + "0\r\n" + some("X-Sum: 1", "X-Late: 2") + "\r\n"
	}
	request := func() (string, string) {
		method := one("GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
		s := method + " " + one("/", "/a?b=c", "/%7Ba}/", "/a//b?") + " HTTP/1." + one("1", "1", "1", "0") + "\r\nHost: " + one("a", "shop.example:81", "[::1]:8") + "\r\nConnection: close" + one("", ", x-a", ", te") + "\r\n"
		s += some("X-A: 1", "Te: trailers", "Cookie: a=1", "cookie: b=2", "Accept-Encoding: gzip", "Idempotency-Key: 7", "X-Forwarded-For: 1.2.3.4", "Authorization: Basic a", "User-Agent: u", "X-Custom:", "Via: 1.1 x", "Content-Type: text/plain")
		switch sent := body(); {
		case method == "GET" || method == "HEAD" || rnd.IntN(4) == 0:
			return s + "\r\n", method
		case strings.Contains(s, "HTTP/1.1\r\nHost") && rnd.IntN(2) == 0:
			return s + "Transfer-Encoding: chunked\r\n" + some("Trailer: X-Sum") + "\r\n" + chunked(sent), method
		default:
			return s + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(sent), sent), method
		}
	}
	answer := func(method string) string {
		s := ""
		for rnd.IntN(4) == 0 {
			s += "HTTP/1.1 " + one("100 Continue", "103 Early Hints", "102 P") + "\r\n" + some("Link: </a>", "X-A: b") + "\r\n"
		}
		status := one("200 OK", "200", "201 Made", "204 No", "206 Part", "301 There", "304 Same", "404 No", "429 Slow", "500 Oh", "502 Bad", "503 Busy", "504 Late", "599 Odd")
		s += "HTTP/1." + one("1", "1", "1", "0") + " " + status + "\r\n" + some("Content-Type: text/html", "Set-Cookie: a=1", "set-cookie: b=2", "X-Folded: a\r\n b", "Connection: x-hop", "X-Hop: 1", "Connection: close", "Keep-Alive: timeout=9", "Pragma: no-cache", "Cache-Control: no-store", "Retry-After: 2", "Location: /b", "Server: s", "Date: Thu, 01 Jan 1970 00:00:00 GMT", "X-Accel-Buffering: no")
		bodiless := method == "HEAD" || status == "204 No" || status == "304 Same"
		sent := body()
		end := "\r\n"
		switch rnd.IntN(3) {
		case 0:
			s, end = s+"Transfer-Encoding: chunked\r\n"+some("Trailer: X-Sum", "Trailer: X-Late"), "\r\n"+chunked(sent)
		case 1:
			if status != "204 No" {
				s += fmt.Sprintf("Content-Length: %d\r\n", len(sent))
			}
			end += sent
		default:
			end += sent
		}
		if bodiless {
			end = "\r\n"
		}
		return s + end
	}
	n := 200
	if testing.Short() {
		n = 50
	}
	for range n {
		sent, method := request()
		p := play{sent, []string{answer(method), answer(method)}}
		if rnd.IntN(2) == 0 {
			p.answers[0] = p.answers[0][:rnd.IntN(len(p.answers[0]))]
		}
		if p.alike(t); t.Failed() {
			return
		}
	}
}
