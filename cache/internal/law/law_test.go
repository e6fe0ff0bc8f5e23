package law

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

var now = time.Date(2026, 8, 3, 12, 0, 0, 0, time.UTC)

// date renders a date that many seconds from now.
func at(seconds int) string {
	return now.Add(time.Duration(seconds) * time.Second).Format(imfFixdate)
}

// header makes a header of "Name: value" lines.
func header(lines ...string) http.Header {
	h := make(http.Header)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

func TestParseDirectives(t *testing.T) {
	cases := map[string]struct {
		in   []string
		want Directives
	}{
		"none":                 {nil, nil},
		"empty members":        {[]string{" ,, "}, nil},
		"case and white space": {[]string{" No-Store\t, MAX-AGE=1 "}, Directives{{"no-store", ""}, {"max-age", "1"}}},
		"lines":                {[]string{"a", "b=2"}, Directives{{"a", ""}, {"b", "2"}}},
		"quoted":               {[]string{`max-age="60"`}, Directives{{"max-age", "60"}}},
		"comma inside quotes":  {[]string{`private="a, b", c`}, Directives{{"private", "a, b"}, {"c", ""}}},
		"escaped quote":        {[]string{`x="a\"b,c", max-age=1`}, Directives{{"x", `a"b,c`}, {"max-age", "1"}}},
		"directive in quotes":  {[]string{`x="max-age=3600", max-age=1`}, Directives{{"x", "max-age=3600"}, {"max-age", "1"}}},
		"unclosed quote":       {[]string{`a, x="max-age=60, no-store`, "b"}, Directives{{"a", ""}, {"b", ""}}},
		"space around =":       {[]string{"max-age =60, s-maxage= 60"}, Directives{{"s-maxage", " 60"}}},
		"no name":              {[]string{"=60, a"}, Directives{{"a", ""}}},
		"rubbish after quotes": {[]string{`a="b"c, d`}, Directives{{"d", ""}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := ParseDirectives(c.in); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func FuzzParseDirectives(f *testing.F) {
	for _, s := range []string{`max-age=60, no-cache="a, b"`, `x="\`, ",=,", `a="b"c`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, d := range ParseDirectives([]string{s}) {
			if !fields.Token(d.Name) || d.Name != strings.ToLower(d.Name) {
				t.Errorf("%q: name %q", s, d.Name)
			}
			quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(d.Value)
			again := ParseDirectives([]string{d.Name + `="` + quoted + `"`})
			if len(again) != 1 || again[0].Value != d.Value {
				t.Errorf("%q: %v does not survive printing: %v", s, d, again)
			}
		}
	})
}

// A date that is as long as a header is none, and is not looked at for long.
func TestLongDates(t *testing.T) {
	now := time.Now()
	for _, unit := range []string{"\xe9", "é", "a", "Sun, 06 Nov 1994 08:49:37 GMT,"} {
		line := strings.Repeat(unit, 32000/len(unit))
		if n := testing.AllocsPerRun(10, func() {
			if _, ok := ParseDate(line, now); ok || MayBeRange(line) {
				t.Errorf("%q is a date", unit)
			}
		}); n != 0 {
			t.Errorf("%q: %g allocations", unit, n)
		}
	}
	for _, line := range []string{`"a"`, `W/"a"`, "Wednesday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT", `"` + strings.Repeat("a", 300) + `"`} {
		if !MayBeRange(line) {
			t.Errorf("%s is none", line)
		}
	}
}

func TestParseDate(t *testing.T) {
	good := map[string]time.Time{
		"Sun, 06 Nov 1994 08:49:37 GMT":    time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC),
		"Sunday, 06-Nov-94 08:49:37 GMT":   time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC),
		"Sun Nov  6 08:49:37 1994":         time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC),
		"Wed Nov 16 08:49:37 1994":         time.Date(1994, 11, 16, 8, 49, 37, 0, time.UTC),
		"Thu, 18 Aug 2050 02:01:18 GMT":    time.Date(2050, 8, 18, 2, 1, 18, 0, time.UTC),
		"Thursday, 18-Aug-50 02:01:18 GMT": time.Date(2050, 8, 18, 2, 1, 18, 0, time.UTC),
		"Thursday, 02-Aug-76 12:00:00 GMT": {}, // a weekday of another century
		"Sunday, 02-Aug-76 12:00:00 GMT":   time.Date(2076, 8, 2, 12, 0, 0, 0, time.UTC),
		"Saturday, 03-Aug-80 12:00:00 GMT": {},
		"Sunday, 03-Aug-80 12:00:00 GMT":   time.Date(1980, 8, 3, 12, 0, 0, 0, time.UTC),
		"THU, 18 Aug 2050 02:01:18 GMT":    time.Date(2050, 8, 18, 2, 1, 18, 0, time.UTC),
		"Thu, 18 AUG 2050 02:01:18 GMT":    time.Date(2050, 8, 18, 2, 1, 18, 0, time.UTC),
		"Thu, 18 Aug 2050 02:01:18 gMT":    time.Date(2050, 8, 18, 2, 1, 18, 0, time.UTC),
		"Thu, 18 Aug 2050 02:01:18 UTC":    {},
		"Thu, 18 Aug 2050 02:01:18 AEST":   {},
		"Thu, 18 Aug 2050 02:01:18 +0000":  {},
		"Thu, 18 Aug 50 02:01:18 GMT":      {},
		"Thu 18 Aug 2050 02:01:18 GMT":     {},
		"Thu, 18  Aug  2050 02:01:18 GMT":  {},
		"Thu,  18 Aug 2050 02:01:18 GMT":   {},
		"Thu, 18-Aug-2050 02:01:18 GMT":    {},
		"Thu, 18 Aug 2050 02.01.18 GMT":    {},
		"Thu, 18 Aug 2050 2:01:18 GMT":     {},
		"Thu, 8 Aug 2050 02:01:18 GMT":     {},
		"Fri, 18 Aug 2050 02:01:18 GMT":    {}, // it is a Thursday
		"Thu, 18 Aug 2050 02:01:18 GMT ":   {},
		"Thu, 18 Aug 2050 02:01:18.5 GMT":  {},
		"Thu, 18 Aug 2050 24:01:18 GMT":    {},
		"Thu, 31 Jun 2050 02:01:18 GMT":    {},
		"Sun Nov 6 08:49:37 1994":          {},
		"Sun Nov 06 08:49:37 1994":         {},
		"0":                                {},
		"":                                 {},
		"2050-08-18T02:01:18Z":             {},
	}
	for in, want := range good {
		got, ok := ParseDate(in, now)
		if ok != !want.IsZero() || ok && !got.Equal(want) {
			t.Errorf("%q: got %v %t, want %v", in, got, ok, want)
		}
	}
}

func TestLifetime(t *testing.T) {
	cases := map[string]struct {
		h      http.Header
		want   int
		stated bool
	}{
		"none":                     {header("Date: " + at(0)), 0, false},
		"max-age":                  {header("Cache-Control: max-age=60"), 60, true},
		"s-maxage before max-age":  {header("Cache-Control: max-age=60, s-maxage=10"), 10, true},
		"max-age before Expires":   {header("Cache-Control: max-age=60", "Expires: "+at(10)), 60, true},
		"max-age 0 before Expires": {header("Cache-Control: max-age=0", "Expires: "+at(10)), 0, true},
		"invalid max-age":          {header("Cache-Control: max-age=a60", "Expires: "+at(10)), 0, true},
		"negative max-age":         {header("Cache-Control: max-age=-60"), 0, true},
		"two max-ages: the first":  {header("Cache-Control: max-age=60, max-age=1"), 60, true},
		"two lines: the first":     {header("Cache-Control: max-age=1", "Cache-Control: max-age=60"), 1, true},
		"Expires and Date":         {header("Expires: "+at(100), "Date: "+at(40)), 60, true},
		"Expires without Date":     {header("Expires: " + at(100)), 100, true},
		"Expires with broken Date": {header("Expires: "+at(100), "Date: x"), 100, true},
		"Expires in the past":      {header("Expires: "+at(-100), "Date: "+at(0)), 0, true},
		"Expires: 0":               {header("Expires: 0"), 0, true},
		"Expires on two lines":     {header("Expires: "+at(100), "Expires: "+at(100)), 0, true},
		"Expires of another zone":  {header("Expires: Thu, 18 Aug 2050 02:01:18 UTC"), 0, true},
		"quoted":                   {header(`Cache-Control: max-age="60"`), 60, true},
		"single-quoted":            {header(`Cache-Control: max-age='60'`), 0, true},
		"leading zeros":            {header(`Cache-Control: max-age=0060`), 60, true},
		"space before the =: none": {header(`Cache-Control: max-age =60`), 0, false},
		"overflow":                 {header(`Cache-Control: max-age=99999999999`), 2147483647, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, stated := Lifetime(c.h, ParseDirectives(c.h["Cache-Control"]), now)
			if got != time.Duration(c.want)*time.Second || stated != c.stated {
				t.Errorf("got %v %t", got, stated)
			}
		})
	}
}

func TestInitialAge(t *testing.T) {
	cases := map[string]struct {
		h     http.Header
		delay int
		want  int
	}{
		"nothing":             {header(), 0, 0},
		"delay counts":        {header("Age: 10", "Date: "+at(0)), 5, 15},
		"Date in the past":    {header("Date: " + at(-100)), 0, 100},
		"Date before Age":     {header("Date: "+at(-100), "Age: 10"), 0, 100},
		"Age before Date":     {header("Date: "+at(-10), "Age: 100"), 0, 100},
		"Date ahead":          {header("Date: " + at(100)), 0, 0},
		"invalid Date":        {header("Date: yesterday"), 0, 0},
		"not a number":        {header("Age: abc"), 0, 0},
		"negative":            {header("Age: -7200"), 0, 0},
		"a float":             {header("Age: 7200.0"), 0, 0},
		"overflow":            {header("Age: 99999999999"), 0, 2147483647},
		"first of a list":     {header("Age: 7200, 0"), 0, 7200},
		"first of a list, 0":  {header("Age: 0, 7200"), 0, 0},
		"first of two lines":  {header("Age: 0", "Age: 7200"), 0, 0},
		"without parameters":  {header("Age: 7200;a=b"), 0, 7200},
		"an empty first line": {header("Age: ", "Age: 7200"), 0, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := InitialAge(c.h, now.Add(-time.Duration(c.delay)*time.Second), now); got != time.Duration(c.want)*time.Second {
				t.Errorf("got %v, want %d s", got, c.want)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	get := Request{Method: "GET"}
	with := func(f func(*Request)) Request { r := get; f(&r); return r }
	auth := with(func(r *Request) { r.Authorization = true })
	cookie := with(func(r *Request) { r.Cookie = true })
	cases := map[string]struct {
		req    Request
		status int
		h      http.Header
		store  bool
		fresh  int
	}{
		"max-age":                            {get, 200, header("Cache-Control: max-age=60"), true, 60},
		"age is taken off":                   {get, 200, header("Cache-Control: max-age=60", "Age: 20"), true, 40},
		"too old":                            {get, 200, header("Cache-Control: max-age=60", "Age: 90"), true, 0},
		"no-store":                           {get, 200, header("Cache-Control: max-age=60, no-store"), false, 60},
		"private":                            {get, 200, header("Cache-Control: max-age=60, private"), false, 60},
		"private fields only":                {get, 200, header(`Cache-Control: max-age=60, private="a"`), true, 60},
		"no-cache":                           {get, 200, header("Cache-Control: max-age=60, no-cache"), true, 0},
		"no-cache fields only":               {get, 200, header(`Cache-Control: max-age=60, no-cache="a"`), true, 60},
		"request no-store":                   {with(func(r *Request) { r.NoStore = true }), 200, header("Cache-Control: max-age=60"), false, 60},
		"Set-Cookie":                         {get, 200, header("Cache-Control: public, max-age=60", "Set-Cookie: a=b"), false, 60},
		"HEAD":                               {with(func(r *Request) { r.Method = "HEAD" }), 200, header("Cache-Control: max-age=60"), false, 60},
		"POST":                               {with(func(r *Request) { r.Method = "POST" }), 200, header("Cache-Control: max-age=60"), false, 60},
		"POST of the URL itself":             {with(func(r *Request) { r.Method = "POST"; r.SameLocation = true }), 200, header("Cache-Control: max-age=60"), true, 60},
		"POST without a lifetime":            {with(func(r *Request) { r.Method = "POST"; r.SameLocation = true }), 200, header("Last-Modified: " + at(-1000)), false, 100},
		"206":                                {get, 206, header("Cache-Control: max-age=60"), false, 60},
		"206 as asked":                       {with(func(r *Request) { r.Range = true }), 206, header("Cache-Control: max-age=60"), true, 60},
		"304":                                {get, 304, header("Cache-Control: max-age=60"), false, 60},
		"103":                                {get, 103, header("Cache-Control: max-age=60"), false, 60},
		"an unknown code with a lifetime":    {get, 299, header("Cache-Control: max-age=60"), true, 60},
		"must-understand, unknown":           {get, 299, header("Cache-Control: max-age=60, must-understand"), false, 60},
		"must-understand over no-store":      {get, 200, header("Cache-Control: max-age=60, must-understand, no-store"), true, 60},
		"must-understand, unknown, no-store": {get, 299, header("Cache-Control: max-age=60, must-understand, no-store"), false, 60},
		"an error lives 10 s at most":        {get, 500, header("Cache-Control: max-age=60"), true, 10},
		"502 too":                            {get, 502, header("Cache-Control: max-age=60"), true, 10},
		"400":                                {get, 400, header("Cache-Control: max-age=60"), false, 10},
		"400 for one who is trusted":         {with(func(r *Request) { r.Trusted = true }), 400, header("Cache-Control: max-age=60"), true, 10},
		"403":                                {get, 403, header("Cache-Control: public, max-age=60"), false, 10},
		"451":                                {get, 451, header("Cache-Control: public, max-age=60"), false, 10},
		"401":                                {get, 401, header("Cache-Control: public, max-age=60"), false, 10},
		"404 for a login":                    {auth, 404, header("Cache-Control: public, max-age=60"), false, 60},
		"404 for a cookie":                   {cookie, 404, header("Cache-Control: public, max-age=60"), false, 60},
		"406":                                {get, 406, header("Cache-Control: max-age=60"), false, 10},
		"406 with Vary":                      {get, 406, header("Cache-Control: max-age=60", "Vary: Accept"), true, 10},
		"412":                                {get, 412, header("Cache-Control: max-age=60"), false, 10},
		"416":                                {get, 416, header("Cache-Control: max-age=60"), false, 10},
		"416 as asked":                       {with(func(r *Request) { r.Range = true }), 416, header("Cache-Control: public, max-age=60"), false, 10},
		"417":                                {get, 417, header("Cache-Control: max-age=60"), false, 10},
		"226":                                {get, 226, header("Cache-Control: max-age=60"), false, 60},
		"429":                                {get, 429, header("Cache-Control: max-age=60"), false, 10},
		"404 as it says":                     {get, 404, header("Cache-Control: max-age=60"), true, 60},
		"410 as it says":                     {get, 410, header("Cache-Control: max-age=60"), true, 60},
		"Authorization":                      {auth, 200, header("Cache-Control: max-age=60"), false, 60},
		"Authorization and public":           {auth, 200, header("Cache-Control: max-age=60, public"), true, 60},
		"Authorization and s-maxage":         {auth, 200, header("Cache-Control: s-maxage=60"), true, 60},
		"Authorization and must-revalidate":  {auth, 200, header("Cache-Control: max-age=60, must-revalidate"), true, 60},
		"cookie":                             {cookie, 200, header("Cache-Control: max-age=60"), false, 60},
		"cookie and public":                  {cookie, 200, header("Cache-Control: max-age=60, public"), true, 60},
		"cookie and s-maxage":                {cookie, 200, header("Cache-Control: s-maxage=60"), true, 60},
		"cookie and must-revalidate":         {cookie, 200, header("Cache-Control: max-age=60, must-revalidate"), false, 60},
		"cookie and Vary: Cookie":            {cookie, 200, header("Cache-Control: s-maxage=60", "Vary: Cookie"), false, 60},
		"no cookie and Vary: Cookie":         {get, 200, header("Cache-Control: s-maxage=60", "Vary: Cookie"), true, 60},
		"heuristic":                          {get, 200, header("Last-Modified: "+at(-1000), "Date: "+at(0)), true, 100},
		"heuristic, a day at most":           {get, 200, header("Last-Modified: " + at(-100*86400)), true, 86400},
		"heuristic, never with a cookie":     {cookie, 200, header("Cache-Control: public", "Last-Modified: "+at(-1000)), true, 0},
		"heuristic, modified in the future":  {get, 200, header("Last-Modified: " + at(1000)), true, 0},
		"heuristic, broken Last-Modified":    {get, 200, header("Last-Modified: x"), true, 0},
		"heuristic 204":                      {get, 204, header("Last-Modified: " + at(-1000)), true, 100},
		"heuristic 404":                      {get, 404, header("Last-Modified: " + at(-1000)), true, 100},
		"heuristic 405":                      {get, 405, header("Last-Modified: " + at(-1000)), true, 100},
		"heuristic 414, an error":            {get, 414, header("Last-Modified: " + at(-1000)), true, 10},
		"heuristic 501, an error":            {get, 501, header("Last-Modified: " + at(-1000)), true, 10},
		"not heuristic 201":                  {get, 201, header("Last-Modified: " + at(-1000)), false, 0},
		"not heuristic 403":                  {get, 403, header("Last-Modified: " + at(-1000)), false, 0},
		"not heuristic 503":                  {get, 503, header("Last-Modified: " + at(-1000)), false, 0},
		"not heuristic 599":                  {get, 599, header("Last-Modified: " + at(-1000)), false, 0},
		"public makes 299 heuristic":         {get, 299, header("Last-Modified: "+at(-1000), "Cache-Control: public"), true, 100},
		"Vary: *":                            {get, 200, header("Cache-Control: max-age=60", "Vary: *"), false, 60},
		"Vary: X-Forwarded-For":              {get, 200, header("Cache-Control: public, max-age=60", "Vary: Accept, x-forwarded-for"), false, 60},
		"Vary: Forwarded":                    {get, 200, header("Cache-Control: max-age=60", "Vary: Forwarded"), false, 60},
		"Vary: X-Forwarded-Proto":            {get, 200, header("Cache-Control: max-age=60", "Vary: X-Forwarded-Proto"), true, 60},
		"Vary: * in a list":                  {get, 200, header("Cache-Control: max-age=60", "Vary: Foo ,\t* "), false, 60},
		"Vary: * on a second line":           {get, 200, header("Cache-Control: max-age=60", "Vary: ", "Vary: *"), false, 60},
		"CDN-Cache-Control over max-age":     {get, 200, header("Cache-Control: max-age=60", "Cdn-Cache-Control: max-age=10"), true, 10},
		"CDN-Cache-Control over no-store":    {get, 200, header("Cache-Control: no-store", "Cdn-Cache-Control: max-age=10"), true, 10},
		"CDN-Cache-Control no-store":         {get, 200, header("Cache-Control: max-age=60", "Cdn-Cache-Control: no-store"), false, 0},
		"CDN-Cache-Control private":          {get, 200, header("Cache-Control: max-age=60", "Cdn-Cache-Control: private", "Expires: "+at(60)), false, 0},
		"CDN-Cache-Control over Expires":     {get, 200, header("Expires: "+at(60), "Cdn-Cache-Control: max-age=0"), true, 0},
		"CDN-Cache-Control and Age":          {get, 200, header("Age: 7200", "Cdn-Cache-Control: max-age=3600"), true, 0},
		"CDN-Cache-Control, false":           {get, 200, header("Cdn-Cache-Control: no-store=?0, max-age=5"), true, 5},
		"CDN-Cache-Control, an extension":    {get, 200, header("Cdn-Cache-Control: foobar, max-age=5"), true, 5},
		"invalid CDN-Cache-Control":          {get, 200, header("Cache-Control: no-store", "Cdn-Cache-Control: max-age=10, &&&&"), false, 0},
		"CDN-Cache-Control of a wrong type":  {get, 200, header("Cache-Control: no-store", `Cdn-Cache-Control: max-age="10"`), false, 0},
		"CDN-Cache-Control with a float":     {get, 200, header("Cache-Control: no-store", `Cdn-Cache-Control: max-age=10.5`), false, 0},
		"CDN-Cache-Control in capitals":      {get, 200, header("Cache-Control: max-age=60", "Cdn-Cache-Control: MaX-aGe=10"), true, 60},
		"CDN-Cache-Control with spaces":      {get, 200, header("Cache-Control: max-age=60", "Cdn-Cache-Control: max-age =10"), true, 60},
		"empty CDN-Cache-Control":            {get, 200, header("Cache-Control: max-age=60", "Cdn-Cache-Control: "), true, 60},
		"own name over CDN":                  {get, 200, header("Cdn-Cache-Control: max-age=10", "Foretier-Cache-Control: max-age=20"), true, 20},
		"Surrogate-Control":                  {get, 200, header("Cache-Control: no-store", "Surrogate-Control: max-age=10"), true, 10},
		"Surrogate-Control no-store":         {get, 200, header("Cache-Control: max-age=60", "Surrogate-Control: no-store"), false, 0},
		"Surrogate-Control for us":           {get, 200, header("Surrogate-Control: max-age=10;foretier"), true, 10},
		"Surrogate-Control for others":       {get, 200, header("Cache-Control: max-age=60", "Surrogate-Control: max-age=10;other, no-store;other"), true, 60},
		"Surrogate-Control with staleness":   {get, 200, header("Surrogate-Control: max-age=10+20"), true, 10},
		"Surrogate-Control of content only":  {get, 200, header("Cache-Control: max-age=60", `Surrogate-Control: content="ESI/1.0"`), true, 60},
		"CDN-Cache-Control over Surrogate":   {get, 200, header("Cdn-Cache-Control: max-age=5", "Surrogate-Control: max-age=10"), true, 5},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			j := Judge(c.req, Response{Status: c.status, Header: c.h, Asked: now, Now: now, Cache: Called("Foretier")})
			if j.Store != c.store || j.Fresh != time.Duration(c.fresh)*time.Second {
				t.Errorf("got %t %v (%s), want %t %d s", j.Store, j.Fresh, j.Why, c.store, c.fresh)
			}
			if j.Store != (j.Why == "") {
				t.Errorf("Store %t, why %q", j.Store, j.Why)
			}
		})
	}
}

func TestJudgeStaleness(t *testing.T) {
	cases := map[string]struct {
		control        string
		noStale        bool
		while, ifError time.Duration
	}{
		"nothing":          {"max-age=1", false, -1, -1},
		"must-revalidate":  {"max-age=1, must-revalidate", true, -1, -1},
		"proxy-revalidate": {"max-age=1, proxy-revalidate", true, -1, -1},
		"no-cache":         {"max-age=1, no-cache", true, -1, -1},
		"s-maxage":         {"s-maxage=1", true, -1, -1},
		"windows":          {"max-age=1, stale-while-revalidate=2, stale-if-error=3", false, 2 * time.Second, 3 * time.Second},
		"invalid windows":  {"max-age=1, stale-while-revalidate=x, stale-if-error=", false, 0, 0},
		"Surrogate":        {"", false, 20 * time.Second, -1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := header("Cache-Control: " + c.control)
			if name == "Surrogate" {
				h = header("Surrogate-Control: max-age=10+20")
			}
			j := Judge(Request{Method: "GET"}, Response{Status: 200, Header: h, Asked: now, Now: now})
			if j.NoStale != c.noStale || j.While != c.while || j.IfError != c.ifError {
				t.Errorf("got %t %v %v", j.NoStale, j.While, j.IfError)
			}
		})
	}
}

func TestReuse(t *testing.T) {
	s := func(seconds int) int64 { return now.Add(time.Duration(seconds) * time.Second).UnixNano() }
	fresh := Stored{Born: s(-10), FreshUntil: s(50), Grace: 20 * time.Second, ErrorGrace: time.Hour}
	stale := Stored{Born: s(-70), FreshUntil: s(-10), Grace: 20 * time.Second, ErrorGrace: time.Hour}
	old := Stored{Born: s(-1000), FreshUntil: s(-900), Grace: 20 * time.Second, ErrorGrace: time.Hour}
	with := func(x Stored, f func(*Stored)) Stored { f(&x); return x }
	cases := map[string]struct {
		stored  Stored
		control string
		want    Use
	}{
		"fresh":                      {fresh, "", Fresh},
		"at the very end":            {with(fresh, func(x *Stored) { x.FreshUntil = s(0) }), "", Grace},
		"stale, within grace":        {stale, "", Grace},
		"stale, past grace":          {old, "", Sick},
		"past everything":            {with(old, func(x *Stored) { x.ErrorGrace = time.Minute }), "", Ask},
		"must-revalidate":            {with(stale, func(x *Stored) { x.NoStale = true }), "", Ask},
		"must-revalidate, fresh":     {with(fresh, func(x *Stored) { x.NoStale = true }), "", Fresh},
		"no-cache":                   {with(fresh, func(x *Stored) { x.Validate = true }), "", Ask},
		"request no-cache":           {fresh, "no-cache", Sick},
		"request max-age=0":          {fresh, "max-age=0", Sick},
		"request max-age=5":          {fresh, "max-age=5", Sick},
		"request max-age=10":         {fresh, "max-age=10", Fresh},
		"request min-fresh=60":       {fresh, "min-fresh=60", Sick},
		"request min-fresh=50":       {fresh, "min-fresh=50", Fresh},
		"request unknown":            {fresh, "whatever", Fresh},
		"request no-cache, RFC 8246": {with(fresh, func(x *Stored) { x.Immutable = true }), "no-cache", Fresh},
		"immutable, stale":           {with(old, func(x *Stored) { x.Immutable = true }), "no-cache", Sick},
		"request max-stale":          {old, "max-stale", Fresh},
		"request max-stale=1000":     {old, "max-stale=1000", Fresh},
		"request max-stale=100":      {old, "max-stale=100", Sick},
		"max-stale, but forbidden":   {with(old, func(x *Stored) { x.NoStale = true }), "max-stale", Ask},
		"no-cache on stale":          {stale, "no-cache", Sick},
		"purged just now":            {with(fresh, func(x *Stored) { x.Purged = s(-1); x.PurgeGrace = 10 * time.Second }), "", Grace},
		"purged long ago":            {with(fresh, func(x *Stored) { x.Purged = s(-11); x.PurgeGrace = 10 * time.Second }), "", Sick},
		"purged, max-stale":          {with(fresh, func(x *Stored) { x.Purged = s(-11); x.PurgeGrace = 10 * time.Second }), "max-stale", Sick},
		"purged, must-revalidate":    {with(fresh, func(x *Stored) { x.Purged = s(-1); x.PurgeGrace = 10 * time.Second; x.NoStale = true }), "", Ask},
		"purged when it was stale":   {with(old, func(x *Stored) { x.Purged = s(-1); x.PurgeGrace = 10 * time.Second }), "", Sick},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var cc Directives
			if c.control != "" {
				cc = ParseDirectives([]string{c.control})
			}
			if got := Reuse(c.stored, cc, now.UnixNano()); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestVariant(t *testing.T) {
	same := map[string][3]string{ // field, one value, another; lines are separated by |
		"combined lines":     {"Foo", "1, 2", "1|2"},
		"white space":        {"Foo", "1,2", " 1 ,\t2 "},
		"language order":     {"Accept-Language", "en, de", "de,en"},
		"language case":      {"Accept-Language", "en, de", "eN, De"},
		"language space":     {"Accept-Language", "en, de;q=0.5", " en ,   de; q=0.5"},
		"q=1 is the default": {"Accept-Language", "en;q=1.0, de;q=0.5", "en, de;q=0.5"},
		"encodings":          {"Accept-Encoding", "gzip, br", "br,gzip"},
	}
	for name, c := range same {
		t.Run(name, func(t *testing.T) {
			if !sameVariant(c[0], c[1], c[2], "") {
				t.Errorf("%q and %q are two", c[1], c[2])
			}
		})
	}
	different := map[string][3]string{
		"another value":        {"Foo", "1", "2"},
		"missing":              {"Foo", "1", ""},
		"empty is not missing": {"Foo", "empty", ""},
		"order of a list":      {"Foo", "1, 2", "2, 1"},
		"another preference":   {"Accept-Language", "en, de;q=0.5", "de, en;q=0.5"},
		"inside quotes":        {"Foo", `"a,b"`, `"a, b"`},
		"phones":               {"User-Agent", "Mozilla/5.0 (iPhone)", "Mozilla/5.0 (Linux; Android 14) Mobile"},
		"desktops":             {"User-Agent", "Mozilla/5.0 (X11)", "curl/8"},
	}
	for name, c := range different {
		t.Run(name, func(t *testing.T) {
			if sameVariant(c[0], c[1], c[2], "") {
				t.Errorf("%q and %q are one", c[1], c[2])
			}
		})
	}
	languages := map[string]struct {
		accept, language string
		want             bool
	}{
		"liked best":     {"fr;q=0.5, de;q=1.0", "de", true},
		"not liked best": {"fr, de;q=0.9", "de", false},
		"one of two":     {"fr, de", "de", false},
		"two languages":  {"de", "de, en", false},
		"none":           {"de", "", false},
		"refused":        {"de;q=0", "de", false},
		"broken quality": {"de;q=x", "de", false},
		"another form":   {"DE", "de", true},
	}
	for name, c := range languages {
		t.Run(name, func(t *testing.T) {
			if got := sameVariant("Accept-Language", "en, de", c.accept, c.language); got != c.want {
				t.Errorf("got %t", got)
			}
		})
	}
	one, other := Selector{Header: header("Foo: 1")}, Selector{Header: header("Foo: 1", "Other: 2")}
	if !other.Selects("Bar,Foo", one.Variant("Bar,Foo", nil), nil) {
		t.Error("two fields, one of them missing")
	}
}

func sameVariant(field, one, another, language string) bool {
	make := func(value string) http.Header {
		h := http.Header{}
		switch value {
		case "":
		case "empty":
			h[field] = []string{""}
		default:
			h[field] = strings.Split(value, "|")
		}
		return h
	}
	stored, asks := Selector{Header: make(one)}, Selector{Header: make(another)}
	return asks.Selects(field, stored.Variant(field, nil), func() string { return language })
}

func TestSelecting(t *testing.T) {
	for want, response := range map[string]http.Header{
		"":                    header("Etag: x"),
		"Accept-Encoding,Foo": header("Vary: foo , Accept-Encoding", "Vary: ,FOO"),
		"Accept-Encoding":     header("Content-Encoding: gzip"),
		"Accept-Encoding,Bar": header("Content-Encoding: gzip", "Vary: bar"),
	} {
		if got := Selecting(response); got != want {
			t.Errorf("%v: got %q, want %q", response, got, want)
		}
	}
}

func TestNotModified(t *testing.T) {
	const tag = `"a"`
	cases := map[string]struct {
		request  http.Header
		tag      string
		modified string
		want     bool
	}{
		"same":                      {header(`If-None-Match: "a"`), tag, "", true},
		"another":                   {header(`If-None-Match: "b"`), tag, "", false},
		"one of a list":             {header(`If-None-Match: "b", "c,d" , "a"`), tag, "", true},
		"one of the lines":          {header(`If-None-Match: "b"`, `If-None-Match: "a"`), tag, "", true},
		"star":                      {header(`If-None-Match: *`), tag, "", true},
		"star without a tag":        {header(`If-None-Match: *`), "", "", true},
		"weak request":              {header(`If-None-Match: W/"a"`), tag, "", true},
		"weak stored":               {header(`If-None-Match: "a"`), `W/"a"`, "", true},
		"lower case w":              {header(`If-None-Match: w/"a"`), `W/"a"`, "", false},
		"no tag stored":             {header(`If-None-Match: "a"`), "", "", false},
		"unquoted":                  {header(`If-None-Match: a`), tag, "", false},
		"tag before date, no match": {header(`If-None-Match: "b"`, "If-Modified-Since: "+at(0)), tag, at(-100), false},
		"tag before date, match":    {header(`If-None-Match: "a"`, "If-Modified-Since: "+at(-1000)), tag, at(-100), true},
		"date":                      {header("If-Modified-Since: " + at(-100)), tag, at(-100), true},
		"later date":                {header("If-Modified-Since: " + at(-50)), tag, at(-100), true},
		"earlier date":              {header("If-Modified-Since: " + at(-150)), tag, at(-100), false},
		"invalid date":              {header("If-Modified-Since: x"), tag, at(-100), false},
		"invalid Last-Modified":     {header("If-Modified-Since: " + at(-100)), tag, "x", false},
		"received before":           {header("If-Modified-Since: " + at(-5)), "", "", true},
		"received after":            {header("If-Modified-Since: " + at(-50)), "", "", false},
		"two dates":                 {header("If-Modified-Since: "+at(0), "If-Modified-Since: "+at(0)), tag, at(-100), false},
		"unconditional":             {header(), tag, at(-100), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := NotModified(transit.ConditionsOf(c.request), c.tag, c.modified, now.Add(-10*time.Second), now); got != c.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestUpdate(t *testing.T) {
	stored := header(`Etag: "a"`, "Content-Length: 5", "Content-Encoding: gzip", "Content-Type: text/plain", "A: 1", "B: 1", "Age: 7", "Date: "+at(-100))
	newer := header(`Etag: "b"`, "Content-Length: 0", "Content-Encoding: br", "Content-Type: text/html", "A: 2", "A: 3", "Connection: close, B", "B: 2", "Date: "+at(0), "Keep-Alive: x")
	want := header(`Etag: "a"`, "Content-Length: 5", "Content-Encoding: gzip", "Content-Type: text/html", "A: 2", "A: 3", "B: 1", "Date: "+at(0))
	if got := Update(stored, newer); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestValidates(t *testing.T) {
	cases := map[string]struct {
		stored, newer http.Header
		want          bool
	}{
		"no validator":         {header(`Etag: "a"`), header(), true},
		"same tag":             {header(`Etag: "a"`), header(`Etag: "a"`), true},
		"weakened on the way":  {header(`Etag: "a"`), header(`Etag: W/"a"`), true},
		"another tag":          {header(`Etag: "a"`), header(`Etag: "b"`), false},
		"same date":            {header("Last-Modified: " + at(-1)), header("Last-Modified: " + at(-1)), true},
		"another date":         {header("Last-Modified: " + at(-1)), header("Last-Modified: " + at(0)), false},
		"tag and another date": {header(`Etag: "a"`, "Last-Modified: "+at(-1)), header("Last-Modified: " + at(0)), true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Validates(c.stored, c.newer); got != c.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestUnsafe(t *testing.T) {
	for method, want := range map[string]bool{
		"GET": false, "HEAD": false, "OPTIONS": false, "TRACE": false, "QUERY": false,
		"POST": true, "PUT": true, "DELETE": true, "PATCH": true, "M-SEARCH": true, "WHATEVER": true,
	} {
		if got := Unsafe(method); got != want {
			t.Errorf("%s: got %t", method, got)
		}
	}
}

func TestTagsAndGroups(t *testing.T) {
	got := Tags(header("Cache-Tag: a, b", "Surrogate-Key: c d", "Xkey: e", "Xkey: f,g", "X-Magento-Tags: h,i"))
	if want := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"}; !reflect.DeepEqual(got, want) {
		t.Errorf("tags: got %q", got)
	}
	for in, want := range map[string][]string{
		`"a", "b c"`: {"a", "b c"}, `"a", b`: nil, `"a`: nil, `"a";x=1`: {"a"},
	} {
		if got := Groups([]string{in}); !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
			t.Errorf("groups %s: got %q, want %q", in, got, want)
		}
	}
}
