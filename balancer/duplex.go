package balancer

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// serveBoth proxies a request with a body over HTTP/1, where a backend may
// answer before it has read the whole of it: the server then reads and writes
// at once (golang/go #40747). What is left of such a body on the wire must not
// be taken for the next request, so the connection ends with the answer.
func (p *Pool) serveBoth(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	if rc.EnableFullDuplex() != nil { // it does one after the other, and takes care itself
		p.proxy.ServeHTTP(w, r)
		return
	}
	in := *r
	body := &watched{ReadCloser: r.Body}
	in.Body = body
	p.proxy.ServeHTTP(&closing{w, body}, &in)
	if !body.ended.Load() {
		// A read that still goes on would hold up the end. An error means
		// that the connection is gone already.
		_ = rc.Flush()
		_ = rc.SetReadDeadline(time.Unix(1, 0))
	}
}

// watched is a body that knows whether it has been read to its end.
type watched struct {
	io.ReadCloser
	ended atomic.Bool
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.ended.Store(true)
	}
	return n, err
}

// closing ends the connection if the answer begins before the request ended.
type closing struct {
	http.ResponseWriter
	body *watched
}

// Unwrap is for [http.ResponseController].
func (w *closing) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *closing) WriteHeader(status int) {
	if status >= 200 && !w.body.ended.Load() {
		w.Header().Set("Connection", "close")
	}
	w.ResponseWriter.WriteHeader(status)
}
