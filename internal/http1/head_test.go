package http1

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// parse reads the head of a request within limits: how it is refused, and whether
// it is whole.
func parse(h *Head, text string, lim Limits) (status int, whole bool) {
	n, err := h.ParseRequest([]byte(text), &lim)
	var refused *Refusal
	if errors.As(err, &refused) {
		return refused.Status, false
	}
	return 0, n > 0
}

// TestFieldsOfRequestsAndResponses: a client's are read strictly, a server's as
// net/http does, whose own outcome stands beside. "" is refused.
func TestFieldsOfRequestsAndResponses(t *testing.T) {
	const ok = 200
	cases := []struct {
		name   string
		fields string // behind "Host: a", the empty line included
		// the request's status, and whether net/http takes it
		request  int
		theirs   bool
		response string // what it says in X, as net/http has it
	}{
		{"plain", "X: y\r\n\r\n", ok, true, "y"},
		{"blanks around a value", "X:\t y \t\r\n\r\n", ok, true, "y"},
		{"no blank", "X:y\r\n\r\n", ok, true, "y"},
		{"bytes beyond ASCII", "X: \xe9\u00e9\r\n\r\n", ok, true, "\xe9\u00e9"},
		{"two of one name", "X: y\r\nx: z\r\n\r\n", ok, true, "y|z"},
		{"LF alone", "X: y\n\r\n", 400, true, "y"},
		{"LF alone at the end", "X: y\r\n\n", 400, true, "y"},
		{"two CRs", "X: y\r\r\n\r\n", 400, false, ""},
		{"CR in a value", "X: y\rZ: z\r\n\r\n", 400, false, ""},
		{"CR in front of a value", "X:\ry\r\n\r\n", 400, false, ""},
		{"CR in a name", "X\r: y\r\n\r\n", 400, false, ""},
		{"NUL", "X: \x00\r\n\r\n", 400, false, ""},
		{"DEL", "X: a\x7f\r\n\r\n", 400, false, ""},
		{"folded by a blank", "X: y\r\n z\r\n\r\n", 400, true, "y z"},
		{"folded by a tab, of LFs", "X: y \n\t \tz\n\r\n", 400, true, "y z"},
		{"folded to another field", "X:\r\n y\r\n Z: z\r\n\r\n", 400, true, "y Z: z"},
		{"a blank behind the name", "X : y\r\n\r\n", 400, true, "missing"},
		{"a tab behind the name", "X\t: y\r\n\r\n", 400, false, ""},
		{"a blank in the name", "X y: z\r\n\r\n", 400, true, "missing"},
		{"no name", ": y\r\n\r\n", 400, false, ""},
		{"no colon", "X y\r\n\r\n", 400, false, ""},
		{"no value", "X:\r\n\r\n", ok, true, "empty"},
		{"a name that is no token", "X(y): z\r\n\r\n", 400, false, ""},
		{"a name beyond ASCII", "X\u00e9: y\r\n\r\n", 400, false, ""},
		{"an underscore", "X_y: z\r\n\r\n", ok, true, "missing"},

		{"a length", "Content-Length: 5\r\nX: y\r\n\r\n", ok, true, "y"},
		{"a length of many noughts", "Content-Length: 000000000000000000000000000005\r\nX: y\r\n\r\n", ok, true, "y"},
		{"a length twice", "Content-Length: 5\r\nContent-Length: 5\r\nX: y\r\n\r\n", 400, true, "y"},
		{"two lengths", "Content-Length: 5\r\nContent-Length: 6\r\nX: y\r\n\r\n", 400, false, ""},
		{"a list of lengths", "Content-Length: 5, 5\r\nX: y\r\n\r\n", 400, false, ""},
		{"a signed length", "Content-Length: +5\r\nX: y\r\n\r\n", 400, false, ""},
		{"a negative length", "Content-Length: -5\r\nX: y\r\n\r\n", 400, false, ""},
		{"a hexadecimal length", "Content-Length: 0x5\r\nX: y\r\n\r\n", 400, false, ""},
		{"an underscored length", "Content-Length: 5_0\r\nX: y\r\n\r\n", 400, false, ""},
		{"a quoted length", "Content-Length: \"5\"\r\nX: y\r\n\r\n", 400, false, ""},
		{"an empty length", "Content-Length:\r\nX: y\r\n\r\n", 400, false, ""},
		{"the largest length", "Content-Length: 9223372036854775807\r\nX: y\r\n\r\n", ok, true, "y"},
		{"too large a length", "Content-Length: 9223372036854775808\r\nX: y\r\n\r\n", 400, false, ""},
		{"far too large a length", "Content-Length: 99999999999999999999999999\r\nX: y\r\n\r\n", 400, false, ""},
		{"a folded length", "Content-Length:\r\n 5\r\nX: y\r\n\r\n", 400, true, "y"},
		{"a length behind a blank", "Content-Length : 5\r\nX: y\r\n\r\n", 400, true, "y"},
		{"chunks", "Transfer-Encoding: chunked\r\nX: y\r\n\r\n", ok, true, "y"},
		{"chunks in any case", "tRANSFER-eNCODING: cHUNKED\r\nX: y\r\n\r\n", ok, true, "y"},
		{"chunks behind a tab", "Transfer-Encoding:\tchunked\r\nX: y\r\n\r\n", ok, true, "y"},
		{"chunks behind a vertical tab", "Transfer-Encoding: \x0bchunked\r\nX: y\r\n\r\n", 400, false, ""},
		{"chunks beside a length", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n", 400, true, "y"},
		{"a length beside chunks", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\nX: y\r\n\r\n", 400, true, "y"},
		{"chunks beside a bad length", "Transfer-Encoding: chunked\r\nContent-Length: x\r\nX: y\r\n\r\n", 400, false, ""},
		{"chunks twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n", 501, false, ""},
		{"chunks and another coding", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\nX: y\r\n\r\n", 501, false, ""},
		{"a list of codings", "Transfer-Encoding: gzip, chunked\r\nX: y\r\n\r\n", 501, false, ""},
		{"a coding that is nearly chunks", "Transfer-Encoding: xchunked\r\nX: y\r\n\r\n", 501, false, ""},
		{"chunks with a parameter", "Transfer-Encoding: chunked;q=1\r\nX: y\r\n\r\n", 501, false, ""},
		{"quoted chunks", "Transfer-Encoding: \"chunked\"\r\nX: y\r\n\r\n", 501, false, ""},
		{"identity", "Transfer-Encoding: identity\r\nX: y\r\n\r\n", 501, false, ""},
		{"no coding", "Transfer-Encoding:\r\nX: y\r\n\r\n", 501, false, ""},
		{"chunks behind a blank", "Transfer-Encoding : chunked\r\nX: y\r\n\r\n", 400, true, "y"},
		{"chunks folded away", "Z: z\r\n Transfer-Encoding: chunked\r\nX: y\r\n\r\n", 400, true, "y"},
		{"folded chunks", "Transfer-Encoding: \r\n chunked\r\nX: y\r\n\r\n", 400, true, "y"},
		{"chunks of a Kelvin", "Transfer-Encoding: chun\u212aed\r\nX: y\r\n\r\n", 501, false, ""},
		{"another host", "Host: b\r\nX: y\r\n\r\n", 400, false, "y"},
		{"a trailer that is announced", "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\nX: y\r\n\r\n", ok, true, "y"},
		{"a length that is announced", "Transfer-Encoding: chunked\r\nTrailer: X-Sum, content-length\r\nX: y\r\n\r\n", 400, false, ""},
		{"a length announced by nobody", "Trailer: Content-Length\r\nX: y\r\n\r\n", ok, true, "y"},
		{"an expectation", "Expect: 100-Continue\r\nX: y\r\n\r\n", ok, true, "y"},
		{"another", "Expect: 200-ok\r\nX: y\r\n\r\n", 417, true, "y"},
		{"two in one", "Expect: 100-continue, x\r\nX: y\r\n\r\n", 417, true, "y"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			in := "POST / HTTP/1.1\r\nHost: a\r\n" + c.fields
			var h Head
			status, whole := parse(&h, in, Limits{})
			if whole {
				status = ok
			}
			_, err := http.ReadRequest(bufio.NewReader(strings.NewReader(in)))
			if status != c.request || err == nil != c.theirs {
				t.Errorf("request: %d, want %d; net/http: %v", status, c.request, err)
			}
			in = "HTTP/1.1 200 OK\r\nHost: a\r\n" + c.fields
			want := ""
			if res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(in)), nil); err == nil {
				want = said(res)
			}
			got := ""
			if res := ourResponse(in, http.MethodGet); res != nil {
				got = said(res)
			}
			if got != c.response || got != want {
				t.Errorf("response: %q, want %q; net/http: %q", got, c.response, want)
			}
			// And to the byte, with something behind it that may be a body.
			const more = "5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n"
			sameRequest(t, "POST / HTTP/1.1\r\nHost: a\r\n"+c.fields+more)
			sameResponse(t, in+more, http.MethodGet)
			sameResponse(t, in+more, http.MethodHead)
		})
	}
}

// said is what a response says in X.
func said(res *http.Response) string {
	switch x, there := res.Header["X"]; {
	case !there:
		return "missing"
	case len(x) == 1 && x[0] == "":
		return "empty"
	default:
		return strings.Join(x, "|")
	}
}

// ourResponse reads the head of a response; nil: it is refused, or not whole.
func ourResponse(text, method string) *http.Response {
	var h Head
	n, err := h.ParseResponse([]byte(text), method == http.MethodHead, &Limits{})
	if err != nil || n == 0 {
		return nil
	}
	return h.Response(&http.Request{Method: method}, nil)
}

// TestCorpus sends the rows with which admin paths are sought past the tier. What
// is refused here reaches no rule, what is not is what net/http makes of it.
func TestCorpus(t *testing.T) {
	escaped := regexp.MustCompile(`<[0-9A-F]{2}>`)
	rows, refused := 0, 0
	for _, file := range []string{"../../router/testdata/bypass-corpus.txt", "../../router/testdata/more-corpus.txt"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			col := strings.Split(line, "\t")
			if len(col) != 4 {
				continue // a comment
			}
			method, host, more := "GET", "shop.example", ""
			for extra := range strings.SplitSeq(col[1], " && ") {
				if m, ok := strings.CutPrefix(extra, ":method: "); ok {
					method = m
				} else if h, ok := strings.CutPrefix(extra, ":host: "); ok {
					host = h
				} else if extra != "-" {
					more += extra + "\r\n"
				}
			}
			target := escaped.ReplaceAllStringFunc(col[0], func(s string) string {
				b, _ := hex.DecodeString(s[1:3])
				return string(b)
			})
			request := method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + more + "\r\n"
			sameRequest(t, request)
			var h Head
			status, whole := parse(&h, request, Limits{})
			if status == 0 && !whole || status != 0 && col[3] != "reject" {
				t.Errorf("%q: %d, wanted is %s", request, status, col[3])
			}
			if (col[2] == "framing" || col[2] == "host") && (status == 0) == (col[3] == "reject") {
				t.Errorf("%q: %d, wanted is %s", request, status, col[3])
			}
			if rows++; status != 0 {
				refused++
			}
		}
	}
	if rows < 250 || refused < 20 {
		t.Errorf("%d rows, %d refused", rows, refused)
	}
}

// TestRequestLines: which are refused, and how.
func TestRequestLines(t *testing.T) {
	const host = "\r\nHost: shop.example\r\n\r\n"
	long := strings.Repeat("a", 7999)
	for text, want := range map[string]int{
		"GET / HTTP/1.1" + host:                                 0,
		"\r\nGET / HTTP/1.1" + host:                             0,
		"\r\n\r\nGET / HTTP/1.1" + host:                         400,
		"\nGET / HTTP/1.1" + host:                               400,
		"\rGET / HTTP/1.1" + host:                               400,
		" GET / HTTP/1.1" + host:                                400,
		"GET  / HTTP/1.1" + host:                                400,
		"GET /  HTTP/1.1" + host:                                400,
		"GET / HTTP/1.1 " + host:                                400,
		"GET\t/ HTTP/1.1" + host:                                400,
		"GET / x HTTP/1.1" + host:                               400,
		"GET /\tHTTP/1.1" + host:                                400,
		"GET /" + host:                                          400, // HTTP/0.9
		"GET" + host:                                            400,
		"GARBAGE\r\n\r\n":                                       400,
		"\r\n\r\n":                                              400,
		"G(T / HTTP/1.1" + host:                                 400,
		"get / HTTP/1.1" + host:                                 0,
		"g\u00e9t / HTTP/1.1" + host:                            400,
		"GET / HTTP/1.0" + host:                                 0,
		"GET / HTTP/1.0\r\n\r\n":                                0,
		"GET / HTTP/1.1\r\n\r\n":                                400,
		"GET / HTTP/1.1\n" + host[2:]:                           400,
		"GET / HTTP/1.1\r" + host:                               400,
		"GET / HTTP/1.2" + host:                                 505,
		"GET / HTTP/0.9" + host:                                 505,
		"GET / HTTP/3.7" + host:                                 505,
		"PRI * HTTP/2.0\r\n\r\n":                                505,
		"GET / HTTP/11" + host:                                  400,
		"GET / HTTP/1.1.1" + host:                               400,
		"GET / HTTP/1,1" + host:                                 400,
		"GET / http/1.1" + host:                                 400,
		"GET / HTTPS/1.1" + host:                                400,
		"GET / HTTP/1.\xb9" + host:                              400,
		"GET /" + long + " HTTP/1.1" + host:                     0,
		"GET /" + long + "a HTTP/1.1" + host:                    414,
		"GET /" + long + "aaaaaaaaaaaaaaa":                      414,
		"GET " + long + long:                                    414,
		"GET / HTTP/1.1" + long:                                 400,
		strings.Repeat("M", 64) + " / HTTP/1.1" + host:          0,
		strings.Repeat("M", 65) + " / HTTP/1.1" + host:          501,
		strings.Repeat("M", 65):                                 501,
		"GET /a?b=/../%zz HTTP/1.1" + host:                      0,
		"GET /a%2Fb%00 HTTP/1.1" + host:                         0, // what it means is the router's to judge
		"GET /a%2 HTTP/1.1" + host:                              400,
		"GET /% HTTP/1.1" + host:                                400,
		"GET /%zz HTTP/1.1" + host:                              400,
		"GET /a#b HTTP/1.1" + host:                              400,
		"GET /a\x00 HTTP/1.1" + host:                            400,
		"GET /a\x7f HTTP/1.1" + host:                            400,
		"GET //b/a HTTP/1.1" + host:                             0,
		"GET a HTTP/1.1" + host:                                 400,
		"GET ?a HTTP/1.1" + host:                                400,
		"OPTIONS * HTTP/1.1" + host:                             400,
		"GET http://shop.example/a HTTP/1.1" + host:             0,
		"GET HTTP://Other.example:80?a HTTP/1.1" + host:         0,
		"GET http://shop.example HTTP/1.1\r\n\r\n":              400,
		"GET http://shop.example HTTP/1.0\r\n\r\n":              0,
		"GET http://a@shop.example/ HTTP/1.1" + host:            400,
		"GET http:///a HTTP/1.1" + host:                         400,
		"GET http:a HTTP/1.1" + host:                            400,
		"GET http://shop.example/%zz HTTP/1.1" + host:           400,
		"GET ftp://shop.example/ HTTP/1.1" + host:               400,
		"CONNECT shop.example:443 HTTP/1.1" + host:              0, // edge answers 405
		"CONNECT http://shop.example/ HTTP/1.1" + host:          400,
		"CONNECT shop.example/a HTTP/1.1" + host:                400,
		"CONNECT  HTTP/1.1" + host:                              400,
		"GET / HTTP/1.1\r\nHost:\r\n\r\n":                       400,
		"GET / HTTP/1.0\r\nHost:\r\n\r\n":                       0,
		"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n":                   400,
		"GET / HTTP/1.0\r\nHost: a/b\r\n\r\n":                   400,
		"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n":                  400,
		"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n":                   400,
		"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n":                   400,
		"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n":              0,
		"GET http://a/ HTTP/1.1\r\nHost: b c\r\n\r\n":           400,
		"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n": 400,
		"GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n":            400,
		"GET / HTTP/1.1\r\n\tHost: a\r\n\r\n":                   400,
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("x", 500):    501, // TLS
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 \n" + strings.Repeat("x", 500): 400,
	} {
		var h Head
		got, whole := parse(&h, text, Limits{Target: 8000})
		if got != want || whole && want != 0 {
			t.Errorf("%.100q: %d, want %d", text, got, want)
		}
	}
}

// TestLimits: what is too much is refused as soon as it is there, in whatever
// pieces it comes.
func TestLimits(t *testing.T) {
	const line = "GET / HTTP/1.1\r\nHost: shop.example\r\n"
	lim := Limits{Target: 8000, Size: 1000, Fields: 10, Cookies: 20}
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"as large as may be":            {line + "X: " + strings.Repeat("y", 1000-len("X: \r\n")) + "\r\n\r\n", 0},
		"a byte more":                   {line + "X: " + strings.Repeat("y", 1001-len("X: \r\n")) + "\r\n\r\n", 431},
		"without end":                   {line + "X: " + strings.Repeat("y", 1000), 431},
		"of names":                      {line + strings.Repeat("y", 1010), 431},
		"of blanks":                     {line + "X:" + strings.Repeat(" ", 1000) + "\r\n\r\n", 431},
		"a Host without end":            {"GET / HTTP/1.1\r\nHost: " + strings.Repeat(" ", 1000), 431},
		"ten fields":                    {line + strings.Repeat("X: y\r\n", 10) + "\r\n", 0},
		"eleven":                        {line + strings.Repeat("X: y\r\n", 11), 431},
		"twenty cookies":                {line + strings.Repeat("X: y\r\n", 9) + strings.Repeat("Cookie: a=b; c=d\r\n", 10) + "\r\n", 0},
		"one more":                      {line + "Cookie: a=b" + strings.Repeat("; a=b", 20) + "\r\n", 431},
		"empty ones":                    {line + strings.Repeat("Cookie:\r\n", 21), 431},
		"ten fields and cookies":        {line + strings.Repeat("X: y\r\n", 10) + "Cookie: a=b\r\n", 431},
		"a host does not count, before": {"GET / HTTP/1.1\r\nHost: shop.example\r\n" + strings.Repeat("X: y\r\n", 10) + "\r\n", 0},
		"a host does not count, behind": {"GET / HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 10) + "Host: shop.example\r\n\r\n", 0},
	} {
		for _, step := range []int{len(c.text), 1, 7} {
			var h Head
			status, whole, came := 0, false, 0
			for came < len(c.text) && status == 0 && !whole {
				came = min(came+step, len(c.text))
				status, whole = parse(&h, c.text[:came], lim)
			}
			if status != c.want || whole != (c.want == 0) {
				t.Errorf("%s, by %d: %d, whole: %t", name, step, status, whole)
			}
		}
	}
	// Nobody's limits are none at all.
	var h Head
	if status, _ := parse(&h, line+"X: "+strings.Repeat("y", MaxHeader), Limits{}); status != 431 {
		t.Errorf("a header of more than %d bytes: %d", MaxHeader, status)
	}
	if h.Reset(); h.Len() != 0 || h.at != 0 {
		t.Errorf("%+v after Reset", h)
	}
}

// TestPieces: however a head is cut, and wherever its bytes are meanwhile, it is the
// same head.
func TestPieces(t *testing.T) {
	for _, text := range requestSeeds {
		if len(text) > 2000 {
			continue
		}
		sameRequest(t, text)
		for cut := range len(text) {
			got, err := ourRequest(t, io.MultiReader(strings.NewReader(text[:cut]), strings.NewReader(text[cut:])))
			want, wantErr := ourRequest(t, strings.NewReader(text))
			if status(err) != status(wantErr) {
				t.Fatalf("%q cut at %d: %v, want %v", text, cut, err, wantErr)
			}
			if want != nil {
				compare(t, fmt.Sprintf("%s cut at %d", text, cut), got, want)
			}
		}
	}
}

// TestHeads: what framing and rules go by.
func TestHeads(t *testing.T) {
	type says struct {
		method, target, host string
		minor                int
		length               int64
		close, expect        bool
		upgrade              string
	}
	for text, want := range map[string]says{
		"GET /a?b HTTP/1.1\r\nHost: c\r\n\r\n":                                                                {"GET", "/a?b", "c", 1, 0, false, false, ""},
		"GET / HTTP/1.0\r\nHost: c\r\n\r\n":                                                                   {"GET", "/", "c", 0, 0, true, false, ""},
		"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n":                                                    {"GET", "/", "", 0, 0, false, false, ""},
		"GET / HTTP/1.0\r\nConnection: Keep-Alive, close\r\n\r\n":                                             {"GET", "/", "", 0, 0, true, false, ""},
		"GET / HTTP/1.1\r\nHost: c\r\nConnection: te\r\nConnection: x ,CLOSE\r\n\r\n":                         {"GET", "/", "c", 1, 0, true, false, ""},
		"GET http://d:1/ HTTP/1.1\r\nHost: c\r\n\r\n":                                                         {"GET", "http://d:1/", "d:1", 1, 0, false, false, ""},
		"GET http://d?x HTTP/1.1\r\nHost: c\r\n\r\n":                                                          {"GET", "http://d?x", "d", 1, 0, false, false, ""},
		"CONNECT d:1 HTTP/1.1\r\nHost: c\r\n\r\n":                                                             {"CONNECT", "d:1", "d:1", 1, 0, false, false, ""},
		"POST / HTTP/1.1\r\nHost: c\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n":                     {"POST", "/", "c", 1, 5, false, true, ""},
		"POST / HTTP/1.1\r\nHost: c\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n":                     {"POST", "/", "c", 1, 0, false, false, ""},
		"POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n":                                {"POST", "/", "", 0, 5, true, false, ""},
		"POST / HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\n\r\n":                                    {"POST", "/", "c", 1, -1, false, false, ""},
		"GET / HTTP/1.1\r\nHost: c\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n":          {"GET", "/", "c", 1, 0, false, false, "websocket"},
		"GET / HTTP/1.1\r\nHost: c\r\nUpgrade: websocket\r\n\r\n":                                             {"GET", "/", "c", 1, 0, false, false, ""},
		"GET / HTTP/1.0\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n":                                 {"GET", "/", "", 0, 0, true, false, ""},
		"GET / HTTP/1.1\r\nHost: c\r\nConnection: upgrade\r\n\r\n":                                            {"GET", "/", "c", 1, 0, false, false, ""},
		"GET / HTTP/1.1\r\nHost: c\r\nConnection: \u212aeep-alive, clo\u017fe\r\nX-Connection: close\r\n\r\n": {"GET", "/", "c", 1, 0, false, false, ""},
	} {
		var h Head
		if _, whole := parse(&h, text+"rest", Limits{}); !whole || h.Size != len(text) {
			t.Errorf("%q: whole %t, %d bytes", text, whole, h.Size)
			continue
		}
		got := says{h.Method, h.Target, h.Host, h.Minor, h.Length, h.Close, h.Expect, h.Upgrade}
		if got != want {
			t.Errorf("%q:\n got %+v\nwant %+v", text, got, want)
		}
	}
}

// TestFieldsInPlace: fields are found by number and in order, and a head is reused
// without what it held.
func TestFieldsInPlace(t *testing.T) {
	var h Head
	for range 2 {
		if _, whole := parse(&h, "GET / HTTP/1.1\r\nhost: a\r\nX-Own: b\r\nCOOKIE: c=d\r\n\r\n", Limits{Fields: 2}); !whole {
			t.Fatal("not whole")
		}
		var got []string
		for i := range h.Len() {
			id, name, value := h.Field(i)
			got = append(got, id.String(), name, value)
		}
		if want := "Host host a  X-Own b Cookie COOKIE c=d"; strings.Join(got, " ") != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if h.Value(Known("Cookie")) != "c=d" || h.Value(Known("Accept")) != "" || Known("X-Own") != 0 || Known("") != 0 {
			t.Error("a field is not found by its number")
		}
	}
	if _, whole := parse(&h, "GET / HTTP/1.0\r\n\r\n", Limits{}); !whole || h.Len() != 0 || h.Host != "" || h.Value(Known("Cookie")) != "" {
		t.Errorf("%d fields are left, of %q", h.Len(), h.Host)
	}
}

// TestNames: each common name has one number, and its canonical form.
func TestNames(t *testing.T) {
	for n, name := range names {
		if n == 0 {
			continue
		}
		if name == "" || http.CanonicalHeaderKey(name) != name {
			t.Errorf("%d: %q", n, name)
		}
		for _, s := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			if Known(s) != Name(n) {
				t.Errorf("%q: %d, want %d", s, Known(s), n)
			}
		}
		if Known(name+"x") == Name(n) || Known(name[1:]) == Name(n) || Known("~"+name[1:]) == Name(n) {
			t.Errorf("another name passes for %q", name)
		}
	}
	for _, name := range []string{"x", "X-a--B-", "-x", "a1B", "x-ÿ", "X_y-z"} {
		b := []byte(name)
		if canonical(b); Known(name) == 0 && isToken([]byte(name)) && string(b) != http.CanonicalHeaderKey(name) {
			t.Errorf("%q becomes %q", name, b)
		}
	}
	for c := range 256 {
		b := string([]byte{byte(c)})
		if isToken([]byte(b)) != (lower[c] != 0) || lower[c] != 0 && strings.ToLower(b) != string([]byte{lower[c]}) {
			t.Errorf("%q as a byte of a token", b)
		}
		for _, around := range []string{"", "0123456", "01234567", " \t \x80\xff~!a"} {
			for at := range len(around) + 1 {
				v := around[:at] + b + around[at:]
				if want := c >= ' ' && c != 0x7f || c == '\t'; isValue([]byte(v)) != want {
					t.Errorf("%q is a value: %t", v, !want)
				}
			}
		}
	}
}

// TestRequestsBelongToHandlers: a request is a copy, and adding to one field leaves
// the others alone.
func TestRequestsBelongToHandlers(t *testing.T) {
	b := []byte("GET /a?b HTTP/1.1\r\nHost: c\r\nX: 1\r\nY: 2\r\nX: 3\r\nz-z: 4\r\n\r\n")
	var h Head
	if n, err := h.ParseRequest(b, &Limits{}); n != len(b) || err != nil {
		t.Fatal(n, err)
	}
	type key struct{}
	r, err := h.Request(context.WithValue(context.Background(), key{}, 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] = '?'
	}
	if r.Method != "GET" || r.RequestURI != "/a?b" || r.Host != "c" || r.URL.Path != "/a" || r.Body != http.NoBody || r.Context().Value(key{}) != 1 {
		t.Errorf("got %+v", r)
	}
	r.Header["Y"] = append(r.Header["Y"], "5")
	if got := fmt.Sprint(r.Header); got != "map[X:[1 3] Y:[2 5] Z-Z:[4]]" {
		t.Errorf("got %s", got)
	}
}

// TestEachByteIsSearchedOnce: a head is as much work in one piece as byte by byte,
// whatever is in it: a search goes on where the last one ended, and a line is read
// when it has ended.
func TestEachByteIsSearchedOnce(t *testing.T) {
	const n = 32 << 10
	for name, text := range map[string]string{
		"one field":     "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", n) + "\r\n\r\n",
		"many fields":   "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", n/6) + "\r\n",
		"a target":      "GET /" + strings.Repeat("%20", n/3) + " HTTP/1.1\r\nHost: a\r\n\r\n",
		"many cookies":  "GET / HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat(";", n) + "\r\n\r\n",
		"an unfinished": "GET /" + strings.Repeat("a", n),
	} {
		b := []byte(text)
		var h Head
		for came := 1; came <= len(b); came++ {
			read, lines := h.at, h.Len()
			n, err := h.ParseRequest(b[:came], &Limits{})
			if err != nil || n == 0 && h.seen != came {
				t.Fatalf("%s: %d bytes of %d were searched, %v", name, h.seen, came, err)
			}
			ended := b[came-1] == '\n'
			if (h.at > read) != ended || h.Len() > lines && !ended || h.at > read && h.at != came {
				t.Fatalf("%s: read up to %d of %d, before up to %d", name, h.at, came, read)
			}
		}
	}
}
