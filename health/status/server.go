package status

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// A Server serves a page at an address of its own: a background for edge's Server.Run,
// with which the page is there through the drain, too. Its [Handler.Run] is another.
type Server struct {
	net.Listener
	http.Handler // the page
}

// Run serves until ctx ends, and closes the listener. Its error is the listener's.
func (s Server) Run(ctx context.Context) error {
	srv := &http.Server{Handler: s.Handler, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })() // nothing can be done about what does not close
	if err := srv.Serve(s.Listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
