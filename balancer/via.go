package balancer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// NoVia as [Options.Via] leaves Via alone.
const NoVia = "-"

// ErrLoop means that a request has been through this pool before: it is, by
// whatever detour, its own backend.
var ErrLoop = errors.New("balancer: the request has been here before")

// A hop is what a pool says of itself to those behind it, by which it knows
// itself again.
type hop struct {
	name  string   // a pseudonym
	field string   // in which it stands: Via, or CDN-Loop
	alone []string // the field of a request of HTTP/1.1 that has none yet; not to be changed
}

// The pseudonyms of pools whose Options name none: one chain of pools in one
// process, as in tests and with listeners for each other, is no loop.
var (
	process = fmt.Sprintf("foretier-%08x", rand.Uint32())
	pools   atomic.Uint64
)

// newHop reads [Options.Via].
func newHop(via string) (hop, error) {
	h := hop{name: via, field: "Via"}
	if via == "" || via == NoVia {
		h.name = process + "." + strconv.FormatUint(pools.Add(1), 36)
	}
	if via == NoVia {
		h.field = "Cdn-Loop"
	}
	if !fields.Token(h.name) {
		return h, fmt.Errorf("the name %q in Via: want a token, such as the name of this tier, or balancer.NoVia", via)
	}
	h.alone = []string{h.entry("HTTP/1.1")}
	return h, nil
}

// seen reports whether a request with this header has been here.
func (h *hop) seen(header http.Header) bool {
	for _, line := range header[h.field] {
		if !containsFold(line, h.name) {
			continue // nearly always: a stranger's list is not taken apart
		}
		for line != "" {
			var member string
			member, line = fields.CutCommented(line)
			name, rest := cutWord(member)
			if h.field == "Via" { // a protocol and who received it
				name, _ = cutWord(rest)
			} else { // RFC 8586: a name and parameters
				name, _, _ = strings.Cut(name, ";")
			}
			if fields.EqualFold(name, h.name) {
				return true
			}
		}
	}
	return false
}

// sign adds to out, which goes on from in, that it was here (RFC 9110, section
// 7.6.3, or RFC 8586).
func (h *hop) sign(out http.Header, in *http.Request) {
	before := out[h.field]
	if len(before) == 0 && in.Proto == "HTTP/1.1" {
		out[h.field] = h.alone
		return
	}
	entry := h.entry(in.Proto)
	if len(before) > 0 {
		entry = strings.Join(before, ", ") + ", " + entry
	}
	out[h.field] = []string{entry}
}

// entry returns what the hop writes of itself into a request of a protocol.
func (h *hop) entry(proto string) string {
	if h.field != "Via" {
		return h.name
	}
	_, version, _ := strings.Cut(proto, "/")
	return version + " " + h.name
}

// containsFold reports whether s contains name in any case.
func containsFold(s, name string) bool {
	first := name[0] | 0x20 // of a token's bytes, only letters differ by that alone
	for i := 0; i+len(name) <= len(s); i++ {
		if s[i]|0x20 == first && fields.EqualFold(s[i:i+len(name)], name) {
			return true
		}
	}
	return false
}

// cutWord returns the first word of s, and what follows it.
func cutWord(s string) (word, rest string) {
	s = strings.TrimLeft(s, " \t")
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// maxForwards returns how many hops a request may still make. counts is false
// if it says nothing of it, as all but OPTIONS and TRACE do (RFC 9110, section
// 7.6.2).
func maxForwards(r *http.Request) (n uint64, counts bool) {
	if r.Method != http.MethodOptions && r.Method != http.MethodTrace {
		return 0, false
	}
	values := fields.List(r.Header["Max-Forwards"])
	if len(values) != 1 {
		return 0, false
	}
	n, err := strconv.ParseUint(values[0], 10, 32)
	if errors.Is(err, strconv.ErrRange) {
		return 1 << 31, true // the most that is counted here
	}
	return n, err == nil // what is no number says nothing
}

// answerLast answers a request that may go no further than here.
func answerLast(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	if r.Method == http.MethodTrace { // whose answer shows what scripts may not see
		transit.Fail(w, r, http.StatusMethodNotAllowed, errTrace)
		return
	}
	w.WriteHeader(http.StatusOK)
}

var errTrace = errors.New("balancer: TRACE is not answered")
