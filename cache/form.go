package cache

import (
	"net/http"
	"slices"
	"strings"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/fields"
)

// What is stored as text has forms, each in a content coding, which are made behind
// everybody's back: the first when it is stored, for whoever asked for it, another
// when somebody asks for it who wants that more. They answer who wants them from then
// on. To key, Vary and validation they mean nothing: there is one stored response,
// which the backend has sent.

// A choice is the form in which a request is answered.
type choice struct {
	form   *memory.Entry // what is sent: a form of what is stored, or that itself
	better int           // the number of a form that would be better and is not there; -1: none
}

// final reports whether the like of the request gets the same form for as long as
// there is what is stored.
func (c choice) final() bool { return c.better < 0 }

// choose says in which form e, which the caller holds, answers a request with this
// header, and has the one made that would be better.
func (c *Cache) choose(e *memory.Entry, h http.Header) choice {
	as := c.coders.choose(e, h)
	if !as.final() {
		c.makeForm(e, as.better)
	}
	return as
}

// choose says in which form e answers a request with this header. Parts are cut from
// what is not coded (RFC 9110, section 14: they are of one representation, and the
// coded ones have only weak validators, by which parts are not put together).
func (c *coders) choose(e *memory.Entry, h http.Header) choice {
	as := choice{e, -1}
	if e.Flags&memory.Codable == 0 || len(c.list) == 0 || h["Range"] != nil || h[acceptEncoding] == nil {
		return as
	}
	if fields.HasToken(h["Cache-Control"], "no-transform") { // RFC 9111, section 5.2.1.6
		return as
	}
	wish := law.ReadWish(h[acceptEncoding])
	best := wish.Best(c.offers, ^uint(0))
	if best < 0 {
		return as
	}
	if form := e.Form(best); form != nil {
		return choice{form, -1}
	}
	if !e.Plain() {
		as.better = best
	}
	var there uint
	for i := range c.list {
		if e.Form(i) != nil {
			there |= 1 << i
		}
	}
	if i := wish.Best(c.offers, there); i >= 0 {
		as.form = e.Form(i)
	}
	return as
}

// codable reports whether a response may have forms.
func (c *coders) codable(h http.Header) bool { return len(c.list) > 0 && fields.Codable(h) }

// varies reports whether what is sent of e depends on Accept-Encoding, and does not
// say so itself.
func (c *coders) varies(e *memory.Entry) bool {
	if e.Flags&memory.Codable == 0 || len(c.list) == 0 {
		return false
	}
	selecting, _ := e.Vary()
	return selecting == "" || !slices.Contains(strings.Split(selecting, ","), acceptEncoding)
}
