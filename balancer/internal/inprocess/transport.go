// Package inprocess is the way to a handler in this process: no socket, and what a
// handler relies on of net/http's own server.
package inprocess

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
)

// Transport is the way to a handler in this process: an [http.RoundTripper] that
// opens no socket. The handler runs in a goroutine of its own; closing the
// response's body cancels its request's context and waits for its end, as
// net/http's own server would. Only one that brought no header in time is left
// to itself: its client must not wait for it any longer.
type Transport struct{ Handler http.Handler }

func (t Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	in := r.Clone(ctx)
	in.Trailer = r.Trailer // whose values come with the body's end
	in.RequestURI = target.Of(in.URL).String()
	in.URL.Scheme, in.URL.Host = "", ""
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/1.1", 1, 1
	in.RemoteAddr = "127.0.0.1:0"
	if in.Body == nil {
		in.Body = http.NoBody
	}
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.WroteHeaders != nil {
		trace.WroteHeaders()
	}
	if trace != nil && trace.WroteRequest != nil {
		all := &taken{ReadCloser: in.Body, tell: func() { trace.WroteRequest(httptrace.WroteRequestInfo{}) }}
		if in.Body == http.NoBody {
			all.once.Do(all.tell)
		}
		in.Body = all
	}
	pr, pw := io.Pipe()
	done := make(chan struct{})
	w := &writer{header: make(http.Header), pipe: pw, head: r.Method == http.MethodHead, trace: trace, ready: make(chan *http.Response, 1)}
	w.res = &http.Response{
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Body: &responseBody{pr, cancel, done}, ContentLength: -1,
	}
	stop := context.AfterFunc(r.Context(), func() { _ = pw.CloseWithError(context.Cause(r.Context())) })
	failed := make(chan error, 1)
	go func() {
		defer close(done)
		defer cancel()
		defer stop()
		defer func() {
			if v := recover(); v != nil {
				err := fmt.Errorf("handler panicked: %v", v)
				failed <- err
				_ = pw.CloseWithError(err)
			}
		}()
		t.Handler.ServeHTTP(w, in)
		w.finish()
	}()
	select {
	case res := <-w.ready:
		return res, nil
	case err := <-failed:
		return nil, err
	case <-r.Context().Done(): // not ctx, which ends with the handler too
		_ = pr.Close() // ends what the handler may still write
		return nil, context.Cause(r.Context())
	}
}

// taken is a request's body that tells when the handler has it all.
type taken struct {
	io.ReadCloser
	once sync.Once
	tell func()
}

func (t *taken) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if err != nil {
		t.once.Do(t.tell)
	}
	return n, err
}

type responseBody struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   <-chan struct{} // closed when the handler has returned
}

func (b *responseBody) Close() error {
	b.cancel()
	err := b.PipeReader.Close()
	<-b.done
	return err
}

// writer is the handler's side. A body goes through a pipe, so that a
// slow reader slows the handler, as a socket would.
type writer struct {
	header http.Header
	trace  *httptrace.ClientTrace
	res    *http.Response
	ready  chan *http.Response
	head   bool
	wrote  bool // the final header

	mu   sync.Mutex // a handler may flush from another goroutine
	buf  *bufio.Writer
	pipe *io.PipeWriter
}

func (w *writer) Header() http.Header { return w.header }

func (w *writer) WriteHeader(status int) {
	if w.wrote {
		return
	}
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		if w.trace != nil && w.trace.Got1xxResponse != nil {
			_ = w.trace.Got1xxResponse(status, textproto.MIMEHeader(w.header.Clone()))
		}
		return
	}
	w.wrote = true
	w.buf = bufio.NewWriterSize(w.pipe, 4<<10)
	res := w.res
	res.StatusCode = status
	res.Status = fmt.Sprintf("%d %s", status, http.StatusText(status))
	res.Header = w.header.Clone()
	res.ContentLength = -1
	if n := res.Header.Get("Content-Length"); n != "" {
		if _, err := fmt.Sscan(n, &res.ContentLength); err != nil {
			res.ContentLength = -1
		}
	}
	if status == http.StatusNoContent || status == http.StatusNotModified {
		res.ContentLength = 0
	}
	if res.ContentLength == -1 {
		// Its end is as sure as a chunked body's.
		res.TransferEncoding = []string{"chunked"}
	}
	if lines := res.Header["Trailer"]; lines != nil {
		res.Trailer = announced(lines)
		res.Header.Del("Trailer")
	}
	w.ready <- res
}

// announced returns the trailers that lines of a Trailer field name.
func announced(lines []string) http.Header {
	h := make(http.Header)
	for t := range fields.Members(lines) {
		h[http.CanonicalHeaderKey(t)] = nil
	}
	return h
}

func (w *writer) Write(p []byte) (int, error) {
	if _, ok := w.header["Content-Type"]; !ok && !w.wrote {
		// What net/http's server does for handlers, and the pool for no backend.
		w.header["Content-Type"] = []string{http.DetectContentType(p)}
	}
	w.WriteHeader(http.StatusOK)
	if w.head {
		return len(p), nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

// FlushError implements what [http.ResponseController] asks for.
func (w *writer) FlushError() error {
	w.WriteHeader(http.StatusOK)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Flush()
}

// Flush implements [http.Flusher].
func (w *writer) Flush() { _ = w.FlushError() }

// finish hands over the trailers and the end of the body.
func (w *writer) finish() {
	w.WriteHeader(http.StatusOK)
	err := w.FlushError()
	for name := range w.res.Trailer {
		w.res.Trailer[name] = w.header[name]
	}
	for name, values := range w.header {
		if t, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			if w.res.Trailer == nil {
				w.res.Trailer = make(http.Header)
			}
			w.res.Trailer[t] = values
		}
	}
	if err == nil {
		err = io.EOF
	}
	_ = w.pipe.CloseWithError(err)
}
