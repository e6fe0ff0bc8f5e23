package esi

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// A found notes what a parser has found.
type found struct {
	b     strings.Builder
	wrong int
}

func (f *found) text(b []byte) error { f.b.Write(b); return nil }

func (f *found) include(in include) error {
	fmt.Fprintf(&f.b, "{%s|%s|%t}", in.src, in.alt, in.optional)
	return nil
}

func (f *found) malformed(string) { f.wrong++ }

// parsed parses what comes in these pieces.
func parsed(pieces ...string) (out string, wrong int) {
	f := new(found)
	p := parser{to: f}
	for _, piece := range pieces {
		_ = p.feed([]byte(piece)) // f takes everything
	}
	_ = p.end()
	return f.b.String(), f.wrong
}

var parserCases = []struct {
	name, in, want string
	wrong          int
}{
	{"nothing of ours", "<p>1 < 2 && 3 > 2 <!-- x --> <![CDATA[ ]]> -->", "<p>1 < 2 && 3 > 2 <!-- x --> <![CDATA[ ]]> -->", 0},
	{"include", `a<esi:include src="/x"/>b`, "a{/x||false}b", 0},
	{"with a space", `<esi:include src="/x" />`, "{/x||false}", 0},
	{"not closed by itself", `<esi:include src="/x">b</esi:include>c`, "{/x||false}bc", 0},
	{"all attributes", "<esi:include\n alt='/y'\tonerror=\"continue\" src = \"/x\" ttl=\"3\"/>", "{/x|/y|true}", 0},
	{"side by side", `<esi:include src="/x"onerror="continue"/>`, "{/x||true}", 0},
	{"another onerror", `<esi:include src="/x" onerror="abort"/>`, "{/x||false}", 0},
	{"twice", `<esi:include src="/x" src="/y"/>`, "{/x||false}", 0},
	{"a greater than in a value", `<esi:include src="/x?a>b/>"/>`, "{/x?a>b/>||false}", 0},
	{"a quote in the other", `<esi:include src='/x?a="b"'/>`, `{/x?a="b"||false}`, 0},
	{"entities", `<esi:include src="/x?a=1&amp;b=2&c=&quot;&amp;lt;"/>`, `{/x?a=1&b=2&c="&lt;||false}`, 0},
	{"Magento's", `<esi:include src="http://shop.example/page_cache/block/esi/blocks/%5B%22catalog.topnav%22%5D/handles/WyJkZWZhdWx0Il0%3D/" />`,
		"{http://shop.example/page_cache/block/esi/blocks/%5B%22catalog.topnav%22%5D/handles/WyJkZWZhdWx0Il0%3D/||false}", 0},
	{"Symfony's", "<esi:comment text=\"cart\" />\n<esi:include src=\"/_fragment?_hash=x&_path=a%3Db\" onerror=\"continue\" alt=\"/y\" />", "\n{/_fragment?_hash=x&_path=a%3Db|/y|true}", 0},
	{"remove", `a<esi:remove><p>x<esi:include src="/x"/></p></esi:remove>b`, "ab", 0},
	{"remove, spaced", "a<esi:remove\n>x</esi:remov></</esi:remove \n>b", "ab", 0},
	{"remove of nothing", "a<esi:remove/>b</esi:remove>c", "abc", 0},
	{"remove without an end", "a<esi:remove>b</esi:remove", "a", 1},
	{"comment", `a<esi:comment text="x > y"/>b<esi:comment>c</esi:comment>d`, "abcd", 0},
	{"block", `a<!--esi <p><esi:include src="/x"/></p>-->b-->c`, "a <p>{/x||false}</p>b-->c", 0},
	{"block with dashes", "<!--esi\n- -- --- ->--->-->", "\n- -- --- ->--->", 0},
	{"block in a block", "<!--esi a<!--esi b-->c-->", " a bc-->", 0},
	{"comment in a block", "<!--esi a<!-- b -->c-->d", " a<!-- b -->cd", 0},
	{"block without an end", "<!--esi a--", " a--", 0},
	{"no block", "<!--esid <esi:remove/>--><!--es<esi:remove/>-->", "<!--esid <esi:remove/>--><!--es<esi:remove/>-->", 0},
	{"comments are not looked into", `<!-- <esi:include src="/x"/> --><esi:include src="/y"/>`, `<!-- <esi:include src="/x"/> -->{/y||false}`, 0},
	{"short comments", `<!--><esi:include src="/x"/><!---><esi:include src="/y"/>`, "<!-->{/x||false}<!--->{/y||false}", 0},
	{"comment after dashes", `<!-- a---><esi:include src="/x"/>`, "<!-- a--->{/x||false}", 0},
	{"CDATA is not looked into", `<![CDATA[<esi:include src="/x"/>]>]]]><esi:remove/>`, `<![CDATA[<esi:include src="/x"/>]>]]]>`, 0},
	{"other elements", `<esi:vars>$(X)</esi:vars><esi:includes src="/x"/></esi:x>`, `<esi:vars>$(X)</esi:vars><esi:includes src="/x"/></esi:x>`, 0},
	{"no src", `<esi:include alt="/x"/>`, `<esi:include alt="/x"/>`, 1},
	{"an empty src", `<esi:include src=""/>`, `<esi:include src=""/>`, 1},
	{"no quotes", `<esi:include src=/x />`, `<esi:include src=/x />`, 1},
	{"no value", `<esi:include src/>`, `<esi:include src/>`, 1},
	{"no attributes", `<esi:include "x"="y"/>`, `<esi:include "x"="y"/>`, 1},
	{"a quote that stays open", `<esi:include src="/x/> <p title="a"><esi:include src="/y"/>`, `<esi:include src="/x/> <p title="a">{/y||false}`, 1},
	{"a tag in a tag", `<esi:include src="/x<esi:include src="/y"/>`, `<esi:include src="/x{/y||false}`, 1},
	{"a tag without an end", `a<esi:include src="/x"`, `a<esi:include src="/x"`, 1},
	{"beginnings at the end", "a<esi", "a<esi", 0},
	{"a mark at the end", "a<!--es", "a<!--es", 0},
	{"beginnings in a row", `<<e<es<esi<esi:remove/><!<!-<![CDATA</</esi`, `<<e<es<esi<!<!-<![CDATA</</esi`, 0},
	{"capitals are no ESI", `<ESI:include src="/x"/>`, `<ESI:include src="/x"/>`, 0},
	{"a long tag", `<esi:include src="/` + strings.Repeat("x", maxTag) + `"/>b`, `<esi:include src="/` + strings.Repeat("x", maxTag) + `"/>b`, 1},
}

func TestParser(t *testing.T) {
	for _, c := range parserCases {
		if got, wrong := parsed(c.in); got != c.want || wrong != c.wrong {
			t.Errorf("%s: got %.300q, %d malformed; want %.300q, %d", c.name, got, wrong, c.want, c.wrong)
		}
	}
}

// TestParserAtEverySplit holds that it does not matter how a page is cut.
func TestParserAtEverySplit(t *testing.T) {
	for _, c := range parserCases {
		if len(c.in) > 1000 {
			continue
		}
		for i := range len(c.in) {
			if got, wrong := parsed(c.in[:i], c.in[i:]); got != c.want || wrong != c.wrong {
				t.Errorf("%s, cut before %q: got %q, %d malformed; want %q, %d", c.name, c.in[i:], got, wrong, c.want, c.wrong)
			}
		}
		if got, wrong := parsed(strings.Split(c.in, "")...); got != c.want || wrong != c.wrong {
			t.Errorf("%s, byte by byte: got %q, %d malformed; want %q, %d", c.name, got, wrong, c.want, c.wrong)
		}
	}
}

// A refuser takes nothing.
type refuser struct{ found }

var errRefused = errors.New("refused")

func (*refuser) text([]byte) error     { return errRefused }
func (*refuser) include(include) error { return errRefused }

// TestParserTellsOfItsSink: nothing goes on after a client has left.
func TestParserTellsOfItsSink(t *testing.T) {
	for _, c := range parserCases {
		p := parser{to: new(refuser)}
		err := p.feed([]byte(c.in))
		if end := p.end(); err == nil {
			err = end
		}
		if err == nil && c.want != "" {
			t.Errorf("%s: its sink's error is lost", c.name)
		}
	}
}

// FuzzParser holds that no input breaks the parser, that where it is cut does not
// matter, that what has nothing of ours stays as it is, and that nothing is made up.
func FuzzParser(f *testing.F) {
	for _, c := range parserCases {
		f.Add([]byte(c.in), uint16(len(c.in)/2))
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) {
		s := string(in)
		want, wrong := parsed(s)
		at := min(int(cut), len(s))
		if got, n := parsed(s[:at], s[at:]); got != want || n != wrong {
			t.Errorf("cut at %d: got %q, %d malformed; want %q, %d", at, got, n, want, wrong)
		}
		if got, n := parsed(strings.Split(s, "")...); got != want || n != wrong {
			t.Errorf("byte by byte: got %q, want %q", got, want)
		}
		if !strings.Contains(s, "<esi:") && !strings.Contains(s, "</esi:") && !strings.Contains(s, "<!--esi") && want != s {
			t.Errorf("got %q of %q", want, s)
		}
		if len(want) > len(s)+12*strings.Count(s, "<esi:include") {
			t.Errorf("got %q of %q", want, s)
		}
	})
}

// BenchmarkParser is a page of 100 KiB with two includes.
func BenchmarkParser(b *testing.B) {
	page := []byte(strings.Repeat(`<div class="product"><a href="/p/1">Shirt</a> <!-- price --> <b>19.99</b></div>`+"\n", 1200))
	page = append(page, `<esi:include src="/menu"/><esi:include src="/cart"/>`...)
	b.SetBytes(int64(len(page)))
	for b.Loop() {
		p := parser{to: nowhere{}}
		for rest := page; len(rest) > 0; {
			n := min(len(rest), 32<<10)
			_ = p.feed(rest[:n]) // nowhere has no errors
			rest = rest[n:]
		}
	}
}

type nowhere struct{}

func (nowhere) text([]byte) error     { return nil }
func (nowhere) include(include) error { return nil }
func (nowhere) malformed(string)      {}
