package cache

import (
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
)

// A passing is a reason for which requests go straight through, with what is said each
// time: that is made once.
type passing struct {
	why    string         // as it is counted
	note   slog.LogValuer // for the log line
	detail string         // of Cache-Status
	latest atomic.Pointer[passed]
}

// passed is what Cache-Status says of a request that has passed. It is shared, so that
// it must not be changed.
type passed struct {
	fwd    string
	status int
	lines  []string
}

func newPassing(why string) *passing {
	p := &passing{why: "pass: " + why, detail: detail(why)}
	p.note = note(p.why)
	return p
}

// addStatus adds to a response with this status that it was forwarded for the reason fwd,
// in the words of RFC 9211.
func (p *passing) addStatus(c *Cache, header http.Header, fwd string, status int) {
	said := p.latest.Load()
	if said == nil || said.fwd != fwd || said.status != status {
		said = &passed{fwd, status, []string{c.opts.Name + "; fwd=" + fwd + "; fwd-status=" + itoa(status) + p.detail}}
		p.latest.Store(said)
	}
	if lines := header["Cache-Status"]; len(lines) > 0 {
		header["Cache-Status"] = append(lines[:len(lines):len(lines)], said.lines...)
	} else {
		header["Cache-Status"] = said.lines
	}
}

// passings are the reasons that have come up, as many as are counted apart. Its zero
// value knows none, and its methods are safe for concurrent use.
type passings struct {
	known atomic.Pointer[map[string]*passing] // never changed; nil: none
	mu    sync.Mutex                          // of those who replace known
}

// of returns the passing for the reason why.
func (s *passings) of(why string) *passing {
	if known := s.known.Load(); known != nil {
		if p := (*known)[why]; p != nil {
			return p
		}
	}
	p := newPassing(why)
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make(map[string]*passing)
	if old := s.known.Load(); old != nil {
		if len(*old) >= maxReasons {
			return p
		}
		maps.Copy(known, *old)
	}
	known[why] = p
	s.known.Store(&known)
	return p
}
