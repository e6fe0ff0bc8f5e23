package router

import (
	"bufio"
	"net"
	"net/http"
)

// A headWriter changes the final header before it goes out.
type headWriter struct {
	http.ResponseWriter
	final func(status int, h http.Header) // nil once it has been called
}

// Unwrap serves [http.ResponseController].
func (w *headWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (w *headWriter) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.change(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *headWriter) Write(p []byte) (int, error) {
	w.change(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// FlushError serves [http.ResponseController].
func (w *headWriter) FlushError() error {
	w.change(http.StatusOK)
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush implements [http.Flusher].
func (w *headWriter) Flush() { _ = w.FlushError() } // a Flusher cannot report

// Hijack implements [http.Hijacker]: httputil.ReverseProxy answers an upgrade on
// the connection itself, with what stands in Header.
func (w *headWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.change(http.StatusSwitchingProtocols)
	}
	return c, rw, err
}

// change changes the header, once.
func (w *headWriter) change(status int) {
	if w.final != nil {
		final := w.final
		w.final = nil
		final(status, w.Header())
	}
}
