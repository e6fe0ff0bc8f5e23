package transit

import "net/http"

// A relay goes from stage to stage, each of which says who is next; one takes part only
// if it was itself the next. So what stands between two of them, and may do anything, is
// never jumped over: it is no stage, and whoever it calls is not who was named.
//
// The stages touch it before they call one another and after they were called, on the
// goroutine that serves the request, and nobody else does.
type relay struct {
	next http.Handler // who takes part if called; nil: nobody
}

// Hand says who is next.
func (l *relay) Hand(next http.Handler) { l.next = next }

// Takes reports whether h, a pointer, was the next, and is called for each
// request that h gets, before anybody else is: of those that come later, from
// below perhaps, none takes part.
func (l *relay) Takes(h http.Handler) bool {
	if l.next == nil || l.next != h { // of another type, which h's is not, nothing is compared
		return false
	}
	l.next = nil
	return true
}
