package esi

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/foretier/foretier/internal/fields"
)

// A way is how a request goes down.
type way uint8

const (
	asItIs    way = iota // with what it asks for of codings, ranges and conditions
	plain                // without, since its answer is to be composed
	untouched            // nothing is done to it or its answer
)

// wayOf returns how r goes down, and why. marked says that the answer to its like was
// composed; above that somebody else composes this one.
func wayOf(r *http.Request, marked, above bool) (way, string) {
	switch {
	case above:
		return untouched, "composed by whoever asks"
	case r.Header["Upgrade"] != nil:
		return untouched, "an upgrade"
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return plain, "it cannot be repeated, should its answer be composed"
	case marked:
		return plain, "its answer was composed the last time"
	}
	return asItIs, "composed if the answer's Surrogate-Control asks for ESI/1.0, or a rule says so; repeated then, if it came in a coding or in part"
}

// onward returns the header with which r goes down.
func onward(r *http.Request, how way, capability string) http.Header {
	h := maps.Clone(r.Header)
	if h == nil {
		h = make(http.Header)
	}
	h["Surrogate-Capability"] = []string{capability}
	if how != plain {
		return h
	}
	h["Accept-Encoding"] = []string{"identity"}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		for _, name := range [...]string{"Range", "Request-Range", "If-Range", "If-None-Match", "If-Modified-Since", "A-Im"} {
			delete(h, name)
		}
	}
	return h
}

// An act is what is done with an answer.
type act uint8

const (
	pass    act = iota // it goes through
	compose            // it is composed
	again              // it is to be composed, and to be asked for plainly to that end
	raw                // it was to be composed, and cannot be: it goes through, to one client alone
)

// judge decides what is done with the answer to a request that went down as how says.
// isCoded says that it has a content coding, asks that it is to be composed.
func judge(method string, how way, status int, isCoded, asks bool) act {
	part := status == http.StatusNotModified || status == http.StatusPartialContent
	switch {
	case !asks || status < 200:
		return pass
	case part || isCoded && method != http.MethodHead:
		if how == plain {
			return raw
		}
		return again
	}
	return compose
}

// coded reports whether an answer has a content coding.
func coded(h http.Header) bool {
	for coding := range fields.Members(h["Content-Encoding"]) {
		if !fields.EqualFold(coding, "identity") {
			return true
		}
	}
	return false
}

// asks reports whether an answer is to be composed.
func (p *Processor) asks(r *http.Request, status int, h http.Header) bool {
	return len(h["Surrogate-Control"]) > 0 && demands(h["Surrogate-Control"], p.opts.Name) ||
		p.opts.Also != nil && status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified && p.opts.Also(r, status, h)
}

// demands reports whether Surrogate-Control asks the surrogate called name for
// ESI/1.0 (Edge Architecture Specification, section 2): content="ESI/1.0", perhaps
// among others, and perhaps for one surrogate only, content="ESI/1.0";name.
func demands(lines []string, name string) bool {
	for _, line := range lines {
		for line != "" {
			var member string
			member, line = fields.CutMember(line)
			directive, target, targeted := strings.Cut(member, ";")
			key, value, _ := strings.Cut(directive, "=")
			if fields.EqualFold(strings.TrimSpace(key), "content") && (!targeted || fields.EqualFold(strings.TrimSpace(target), name)) &&
				slices.Contains(strings.Fields(strings.Trim(strings.TrimSpace(value), `"`)), "ESI/1.0") {
				return true
			}
		}
	}
	return false
}

// closeToOne makes an answer its client's own, and has it validated.
func closeToOne(h http.Header) {
	value := "private, no-cache"
	if fields.HasToken(h["Cache-Control"], "no-store") {
		value = "private, no-store"
	}
	fields.CacheControl(h, value)
	delete(h, "Surrogate-Control")
}

// settle makes the header of a template that of the page which is composed of it.
func settle(h http.Header) {
	closeToOne(h)
	for _, name := range [...]string{
		"Accept-Ranges", "Age", "Content-Digest", "Content-Length", "Content-Md5", "Content-Range",
		"Date", "Digest", "Etag", "Last-Modified", "Repr-Digest", "Trailer",
	} {
		delete(h, name)
	}
}
