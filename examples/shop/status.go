package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/foretier/foretier/router/edge"
)

// A statusServer serves the status page for as long as the shop runs.
type statusServer struct {
	net.Listener
	http.Handler
}

var _ edge.Runner = statusServer{}

func (s statusServer) Run(ctx context.Context) error {
	srv := &http.Server{Handler: s.Handler, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(s.Listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
