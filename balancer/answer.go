package balancer

import (
	"io"
	"net/http"

	"github.com/foretier/foretier/internal/http1"
)

// receive makes res's body one that holds the place until it ends. It returns
// how the body broke off, if it does so while it is held back.
func (t *try) receive(res *http.Response) error {
	x := t.exchange
	b := &body{try: t, src: res.Body}
	if t.interrupt != nil {
		b.idle = x.timeouts.Idle
	}
	if w, ok := res.Body.(io.Writer); ok && res.StatusCode == http.StatusSwitchingProtocols {
		b.idle = 0
		res.Body = upgraded{b, w}
		return nil
	}
	res.Body = b
	if b.src == http.NoBody || x.ask.Stream || streams(res.Header) {
		return nil
	}
	a := newAhead(x.pool, b, res.ContentLength)
	res.Body = a
	if w, ok := b.src.(http1.Arriving); unproven(res) || ok && w.Whole() {
		a.answer()
		return nil
	}
	return a.hold()
}

// finish makes res the pool's answer.
func (t *try) finish(res *http.Response) {
	x := t.exchange
	x.rec.Unproven = unproven(res)
	t.release()
}
