package h3_test

import (
	"fmt"
	"maps"
)

// second is the request that hides in another.
const second = "GET /admin HTTP/1.1\r\nHost: shop.example\r\n\r\n"

// smuggled are requests in which another one hides, or of which two servers may think
// differently.
func smuggled() map[string]forged {
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
	for _, length := range []string{"+5", "-5", "0x5", "5 5", "5;", "5.0", "five", "99999999999999999999", "5\x00", "\x0b5", "５", "5\x0c", "5\xa0", "5\x85", "5_0", "5e0", "0b101", "5,", ",5", "5,5,", "5\t5"} {
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
	maps.Copy(out, downgraded())
	maps.Copy(out, lines())
	maps.Copy(out, chunked())
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

// downgraded are what HTTP/2 and HTTP/3 can say, and HTTP/1.1, as which it goes on, cannot.
func downgraded() map[string]forged {
	out := map[string]forged{
		"a path that begins with none":     {path: "page?a=b", none: true, only: "23"},
		"a path that is a query":           {path: "?a=b", none: true, only: "23"},
		"a path with blank and line":       {path: "/page HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX: ?a=b", none: true, only: "23"},
		"a path with a bare LF and a name": {path: "/page\nTransfer-Encoding: chunked", none: true, only: "23"},
		"a path with 0x0b":                 {path: "/page\x0bHTTP/1.1", none: true, only: "23"},
		"a path with DEL":                  {path: "/page\x7f?a=b", none: true, only: "23"},
		"a method with LF":                 {method: "GET\n", none: true, only: "23"},
		"a method with NUL":                {method: "GET\x00", none: true, only: "23"},
		"no method":                        {method: " ", none: true, only: "23"},
		"CONNECT with a path":              {method: "CONNECT", none: true, only: "23"},
		"a host with LF":                   {host: "shop.example\nX: y", none: true, only: "23"},
		"a host with a port that is none":  {host: "shop.example:44a", none: true, only: "23"},
		"a host with a query":              {host: "shop.example?/admin", none: true, only: "23"},
		"a host with a fragment":           {host: "shop.example#", none: true, only: "23"},
		"a host with a backslash":          {host: "shop.example\\admin", none: true, only: "23"},
		"a host with two ports":            {host: "shop.example:443:80", none: true, only: "23"},
		"a pseudo-field behind a field":    {fields: []pair{{"a", "b"}, {":path", "/admin"}}, none: true, only: "23"},
		"a pseudo-field with a line":       {fields: []pair{{":a: b\r\nx", "y"}}, none: true, only: "23"},
		"a protocol without CONNECT":       {fields: []pair{{":protocol", "websocket"}}, none: true, only: "23"},
		"a name in capitals":               {fields: []pair{{"Content-Length", "5"}}, body: []string{"hello"}, none: true, only: "23"},
		"a name with LF":                   {fields: []pair{{"a\nb", "c"}}, none: true, only: "23"},
		"a name with CR":                   {fields: []pair{{"a\rb", "c"}}, none: true, only: "23"},
		"a name with NUL":                  {fields: []pair{{"a\x00b", "c"}}, none: true, only: "23"},
		"a name with TAB":                  {fields: []pair{{"content-length\t", "5"}}, body: []string{"hello"}, none: true, only: "23"},
		"a name with a request":            {fields: []pair{{"a: b\r\n\r\n" + second + "x", "y"}}, none: true, only: "23"},
		"a value with a line only":         {fields: []pair{{"a", "\r\n"}}, none: true, only: "23"},
		"a value with CR at its end":       {fields: []pair{{"a", "b\r"}}, none: true, only: "23"},
		"a value with LF at its end":       {fields: []pair{{"a", "b\n"}}, none: true, only: "23"},
		"a cookie with a line":             {fields: []pair{{"cookie", "a=b\r\ntransfer-encoding: chunked"}}, none: true, only: "23"},
		"Connection":                       {fields: []pair{{"connection", "close"}}, none: true, only: "23"},
		"Connection names Host":            {fields: []pair{{"connection", "host"}}, none: true, only: "23"},
		"Keep-Alive":                       {fields: []pair{{"keep-alive", "timeout=5"}}, none: true, only: "23"},
		"Proxy-Connection":                 {fields: []pair{{"proxy-connection", "keep-alive"}}, none: true, only: "23"},
		"Upgrade":                          {fields: []pair{{"upgrade", "h2c"}}, none: true, only: "23"},
		"TE that says more than trailers":  {fields: []pair{{"te", "trailers, chunked"}}, none: true, only: "23"},
		"a length and no body":             {method: "POST", fields: []pair{{"content-length", "5"}}, none: true, only: "23"},
		"OPTIONS with a body":              {method: "OPTIONS", fields: []pair{{"content-length", fmt.Sprint(len(second))}}, body: []string{second}, want: second, only: "23"},
		"DELETE with a body":               {method: "DELETE", fields: []pair{{"content-length", fmt.Sprint(len(second))}}, body: []string{second}, want: second},
		"a GET with one of unknown length": {body: []string{second}, want: second, only: "23"},
	}
	for _, scheme := range []string{"ftp", "https://shop.example/admin?", "https\r\nX: y", "javascript", "https ", ""} {
		out[fmt.Sprintf("the scheme %q", scheme)] = forged{scheme: &scheme, none: true, only: "2"}
		out[fmt.Sprintf("the scheme %q over HTTP/3", scheme)] = forged{scheme: &scheme, maybe: true, only: "3"} // which quic-go keeps for itself
	}
	return out
}

// lines are heads of HTTP/1.1 of which a lenient reader makes something else.
func lines() map[string]forged {
	const (
		get   = "GET /page?a=bMARK HTTP/1.1\r\n"
		post  = "POST /page?a=bMARK HTTP/1.1\r\n"
		shop  = "Host: shop.example\r\n"
		end   = "Connection: close\r\n\r\n"
		bytes = "Content-Length: 5\r\n"
		codes = "Transfer-Encoding: chunked\r\n"
	)
	out := make(map[string]forged)
	for what, raw := range map[string]string{
		"LF alone":                        "POST /page?a=bMARK HTTP/1.1\nHost: shop.example\nContent-Length: 5\nConnection: close\n\nhello",
		"LF alone before a coding":        post + shop + bytes + "X: y\n" + codes + end + "0\r\n\r\n" + second,
		"LF alone at the end":             post + shop + bytes + "Connection: close\r\n\nhello",
		"CR alone before a coding":        post + shop + bytes + "X: y\r" + codes + end + "0\r\n\r\n" + second,
		"CR alone at the end":             post + shop + bytes + "X: y\r\n\r\r\n" + end + "hello",
		"CR twice":                        post + shop + bytes + "X: y\r\r\n" + end + "hello",
		"a blank before a colon":          post + shop + bytes + "Transfer-Encoding : chunked\r\n" + end + "0\r\n\r\n" + second,
		"TAB before a colon":              post + shop + bytes + "Transfer-Encoding\t: chunked\r\n" + end + "0\r\n\r\n" + second,
		"0x0b before a colon":             post + shop + bytes + "Transfer-Encoding\x0b: chunked\r\n" + end + "0\r\n\r\n" + second,
		"NUL before a colon":              post + shop + bytes + "Transfer-Encoding\x00: chunked\r\n" + end + "0\r\n\r\n" + second,
		"0xa0 before a colon":             post + shop + bytes + "Transfer-Encoding\xa0: chunked\r\n" + end + "0\r\n\r\n" + second,
		"0x0b before a name":              post + shop + bytes + "\x0bTransfer-Encoding: chunked\r\n" + end + "0\r\n\r\n" + second,
		"a coding without a colon":        post + shop + bytes + "Transfer-Encoding chunked\r\n" + end + "0\r\n\r\n" + second,
		"a colon without a name":          post + shop + bytes + ": chunked\r\n" + end + "hello",
		"a folded coding":                 post + shop + bytes + "Transfer-Encoding:\r\n chunked\r\n" + end + "0\r\n\r\n" + second,
		"a coding folded by TAB":          post + shop + bytes + "Transfer-Encoding:\r\n\tchunked\r\n" + end + "0\r\n\r\n" + second,
		"a folded length":                 post + shop + "Content-Length:\r\n 5\r\n" + end + "hello",
		"a length folded into another":    post + shop + "X: y\r\n Content-Length: 5\r\n" + end + "hello",
		"a name broken by a line":         post + shop + "Content-Length\r\n: 5\r\n" + end + "hello",
		"a blank before the first field":  post + " " + bytes + shop + end + "hello",
		"a folded host":                   post + "Host:\r\n shop.example\r\n" + bytes + end + "hello",
		"a folded expectation":            post + shop + "Expect:\r\n 100-continue\r\n" + bytes + end + "hello",
		"an expectation with a word more": post + shop + "Expect: y 100-continue\r\n" + bytes + end + "hello",
		"an expectation twice in a line":  post + shop + "Expect: 100-continue, 100-continue, x\r\n" + bytes + end + "hello",
		"an expectation with LF":          post + shop + "Expect: 100-continue\n" + bytes + end + "hello",
		"two codings":                     post + shop + codes + codes + end + "0\r\n\r\n" + second,
		"two codings, one none":           post + shop + "Transfer-Encoding: identity\r\n" + codes + end + "0\r\n\r\n" + second,
		"two codings, one none, behind":   post + shop + codes + "Transfer-Encoding: identity\r\n" + end + "0\r\n\r\n" + second,
		"two codings, one unknown":        post + shop + codes + "Transfer-Encoding: x\r\n" + end + "0\r\n\r\n" + second,
		"a coding with a comma":           post + shop + "Transfer-Encoding: chunked,\r\n" + bytes + end + "0\r\n\r\n" + second,
		"a coding behind a comma":         post + shop + "Transfer-Encoding: ,chunked\r\n" + bytes + end + "0\r\n\r\n" + second,
		"a coding and a length behind":    post + shop + codes + bytes + end + "0\r\n\r\n" + second,
		"a coding in HTTP/1.0":            "POST /page?a=bMARK HTTP/1.0\r\n" + shop + codes + "\r\n5\r\nhello\r\n0\r\n\r\n",
		"a coding and a length, HTTP/1.0": "POST /page?a=bMARK HTTP/1.0\r\n" + shop + codes + bytes + "\r\n0\r\n\r\n" + second,
		"Connection names the coding":     post + shop + "Connection: transfer-encoding, close\r\n" + codes + bytes + "\r\n0\r\n\r\n" + second,
		"no host":                         get + end,
		"two hosts":                       get + shop + "Host: other.example\r\n" + end,
		"the same host twice":             get + shop + shop + end,
		"a host with LF and a name":       get + "Host: shop.example\nX: y\r\n" + end,
		"a list of versions":              "GET /page?a=bMARK HTTP/1.1 HTTP/1.1\r\n" + shop + end,
		"HTTP/2.0 in a line":              "GET /page?a=bMARK HTTP/2.0\r\n" + shop + end,
		"HTTP/1.01":                       "GET /page?a=bMARK HTTP/1.01\r\n" + shop + end,
		"HTTP/1.":                         "GET /page?a=bMARK HTTP/1.\r\n" + shop + end,
		"http/1.1":                        "GET /page?a=bMARK http/1.1\r\n" + shop + end,
		"HTTP/0.9":                        "GET /page?a=bMARK\r\n\r\n",
		"HTTP/0.9 by its number":          "GET /page?a=bMARK HTTP/0.9\r\n\r\n",
		"a blank behind the version":      "GET /page?a=bMARK HTTP/1.1 \r\n" + shop + end,
		"two blanks in a line":            "GET  /page?a=bMARK HTTP/1.1\r\n" + shop + end,
		"TABs in a line":                  "GET\t/page?a=bMARK\tHTTP/1.1\r\n" + shop + end,
		"0x0b in a line":                  "GET\x0b/page?a=bMARK HTTP/1.1\r\n" + shop + end,
		"a blank ahead":                   " GET /page?a=bMARK HTTP/1.1\r\n" + shop + end,
		"NUL ahead":                       "\x00GET /page?a=bMARK HTTP/1.1\r\n" + shop + end,
		"CR alone in a line":              "GET /page?a=bMARK HTTP/1.1\rX: y\r\n" + shop + end,
		"a host as the target":            "GET shop.example:443 HTTP/1.1\r\n" + shop + end,
		"CONNECT":                         "CONNECT shop.example:443 HTTP/1.1\r\n" + shop + end,
		"TRACE":                           "TRACE /page?a=bMARK HTTP/1.1\r\n" + shop + end,
		"absolute with a user":            "GET https://shop.example@other.example/page?a=bMARK HTTP/1.1\r\n" + shop + end,
		"absolute of another kind":        "GET ftp://shop.example/page?a=bMARK HTTP/1.1\r\n" + shop + end,
		"absolute without a host":         "GET https:///page?a=bMARK HTTP/1.1\r\n" + shop + end,
		"the preface of HTTP/2":           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + second,
	} {
		out["lines: "+what] = forged{raw: raw, none: true, only: "1"}
	}
	for what, raw := range map[string]string{
		"a length with a zero ahead":    post + shop + "Content-Length: 05\r\n" + end + "hello",
		"a length with TABs":            post + shop + "Content-Length:\t5\t\r\n" + end + "hello",
		"a length in other letters":     post + shop + "cOnTeNt-LeNgTh: 5\r\n" + end + "hello",
		"a coding in other letters":     post + shop + "tRANSFER-eNCODING: cHUNKED\r\n" + end + "5\r\nhello\r\n0\r\n\r\n",
		"an empty line ahead":           "\r\n" + post + shop + bytes + end + "hello",
		"a coding with blanks":          post + shop + "Transfer-Encoding: \t chunked \t \r\n" + end + "5\r\nhello\r\n0\r\n\r\n",
		"a name like a length":          post + shop + "X-Content-Length: 50\r\nContent-Length-X: 50\r\n" + bytes + end + "hello",
		"an expectation in other cases": post + shop + "eXPECT: 100-CONTINUE\r\n" + bytes + end + "hello",
		"absolute, and another host":    "POST https://shop.example/page?a=bMARK HTTP/1.1\r\nHost: other.example\r\n" + bytes + end + "hello", // RFC 9112, section 3.2.2
		"absolute":                      "POST https://shop.example/page?a=bMARK HTTP/1.1\r\n" + shop + bytes + end + "hello",
		"TE":                            post + shop + "TE: trailers, chunked\r\n" + bytes + end + "hello",
		"Connection names the host":     post + shop + "Connection: host, close\r\n" + bytes + "\r\nhello",
	} {
		out["lines: "+what] = forged{raw: raw, method: "POST", path: "/page?a=b", want: "hello", maybe: true, only: "1"}
	}
	// TE.0: some servers read no body of these.
	for _, method := range []string{"OPTIONS", "GET", "HEAD", "DELETE"} {
		out["lines: chunks of "+method] = forged{raw: method + " /page?a=bMARK HTTP/1.1\r\n" + shop + codes + end + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(second), second), method: method, want: second, maybe: true, only: "1"}
	}
	return out
}

// chunked are chunks that end otherwise for one reader than for another.
func chunked() map[string]forged {
	out := make(map[string]forged)
	for what, chunks := range map[string]string{
		"LF in an extension":             "5;\nxx\r\nhello\r\n0\r\n\r\n",
		"LF ends an extension":           "5;xx\nhello\r\n0\r\n\r\n",
		"CR in an extension":             "5;\rxx\r\nhello\r\n0\r\n\r\n",
		"CR ends an extension":           "5;xx\rhello\r\n0\r\n\r\n",
		"NUL in an extension":            "5;\x00\r\nhello\r\n0\r\n\r\n",
		"a line in a quoted extension":   "5;a=\"b\r\nhello\r\n0\r\n\r\n\"\r\n",
		"LF in a quoted extension":       "5;a=\"b\n\"\r\nhello\r\n0\r\n\r\n",
		"CR ends a size":                 "5\rhello\r\n0\r\n\r\n",
		"CR twice behind a size":         "5\r\r\nhello\r\n0\r\n\r\n",
		"CR and a letter behind a size":  "5\rXhello\r\n0\r\n\r\n",
		"CR ends a chunk":                "5\r\nhello\r0\r\n\r\n",
		"nothing ends a chunk":           "5\r\nhello0\r\n\r\n",
		"other bytes end a chunk":        "5\r\nhelloXX0\r\n\r\n",
		"a letter ends a chunk":          "5\r\nhello\rX0\r\n\r\n",
		"more in a chunk than its size":  "5\r\nhello, and more\r\n0\r\n\r\n",
		"less in a chunk than its size":  "a\r\nhello\r\n0\r\n\r\n",
		"a size with an underscore":      "0_5\r\nhello\r\n0\r\n\r\n",
		"a negative size":                "-5\r\nhello\r\n0\r\n\r\n",
		"a size of letters":              "five\r\nhello\r\n0\r\n\r\n",
		"a size with a word":             "5 x\r\nhello\r\n0\r\n\r\n",
		"a size that wraps at 32 bits":   "100000005\r\nhello\r\n0\r\n\r\n",
		"a size that wraps at 64 bits":   "10000000000000005\r\nhello\r\n0\r\n\r\n",
		"a size of 64 bits":              "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
		"an end by LF":                   "5\r\nhello\r\n0\n\n",
		"an end by LF, half":             "5\r\nhello\r\n0\r\n\n",
		"an end by CR":                   "5\r\nhello\r\n0\r\r",
		"no end":                         "5\r\nhello\r\n0\r\n",
		"no last chunk":                  "5\r\nhello\r\n\r\n",
		"LF ends a trailer":              "5\r\nhello\r\n0\r\nA: b\n\r\n",
		"LF ends the trailers":           "5\r\nhello\r\n0\r\nA: b\r\n\n",
		"CR in a trailer":                "5\r\nhello\r\n0\r\nA: b\rC: d\r\n\r\n",
		"NUL in a trailer":               "5\r\nhello\r\n0\r\nA: \x00\r\n\r\n",
		"a folded trailer":               "5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n",
		"a trailer with a blank":         "5\r\nhello\r\n0\r\nA : b\r\n\r\n",
		"a request in place of trailers": "5\r\nhello\r\n0\r\n" + second,
		"0x0b ahead of a size":           "\x0b5\r\nhello\r\n0\r\n\r\n",
		"a size in quotes":               "\"5\"\r\nhello\r\n0\r\n\r\n",
		"a line ahead of a size":         "\r\n5\r\nhello\r\n0\r\n\r\n",
	} {
		out["chunks, too: "+what] = forged{method: "POST", fields: []pair{{"transfer-encoding", "chunked"}}, body: []string{chunks}, none: true, only: "1"}
	}
	for what, chunks := range map[string]string{
		"a blank behind a size":  "5 \r\nhello\r\n0\r\n\r\n",
		"TAB behind a size":      "5\t\r\nhello\r\n0\r\n\r\n",
		"an empty extension":     "5;\r\nhello\r\n0;\r\n\r\n",
		"a quoted extension":     "5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n",
		"zeros at the end":       "5\r\nhello\r\n000\r\n\r\n",
		"many zeros ahead":       "0000000000000000000000005\r\nhello\r\n0\r\n\r\n",
		"a coding in trailers":   "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
		"a host in trailers":     "5\r\nhello\r\n0\r\nHost: other.example\r\n\r\n",
		"a login in trailers":    "5\r\nhello\r\n0\r\nAuthorization: Basic YTpi\r\nCookie: a=b\r\n\r\n",
		"an unnamed one":         "5\r\nhello\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
		"two chunks":             "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
		"a size in both letters": "A\r\nhellohello\r\n0\r\n\r\n",
	} {
		want := "hello"
		if what == "a size in both letters" {
			want = "hellohello"
		}
		out["chunks, too: "+what] = forged{method: "POST", fields: []pair{{"transfer-encoding", "chunked"}}, body: []string{chunks}, want: want, maybe: true, only: "1"}
	}
	return out
}
