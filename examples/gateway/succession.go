package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/router/edge"
)

const (
	handOverWait = time.Minute      // for the other gateway to be ready
	backendsWait = 10 * time.Second // of that, for its backends
)

// A succession has another gateway take over from this one at SIGUSR2: it starts the
// program that is there now in the place of its own, with the same flags, on the same
// sockets. That one gets connections once it finds a backend up; if it does not, it ends,
// and this one goes on as if nothing had been.
type succession struct {
	args     []string
	stderr   *os.File // nil: nobody can be handed to
	sockets  sockets
	snapshot *snapshot // nil: the cache has none
	log      *slog.Logger
	ordered  <-chan os.Signal
	over     func() // has this gateway drain
}

// Run waits for the order until ctx ends or another gateway has taken over. One that is
// about to is ended with ctx.
func (s succession) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.ordered:
		}
		err := s.handOver(ctx)
		if err != nil && ctx.Err() != nil {
			s.log.Warn("this gateway ends, and so does the one that was to take over")
			return nil
		}
		if err != nil {
			s.log.Error("no other gateway has taken over, this one goes on", "cause", err)
			continue
		}
		if s.snapshot != nil {
			s.snapshot.passed = true
		}
		s.over()
		return nil
	}
}

func (s succession) handOver(ctx context.Context) error {
	switch {
	case os.Getpid() == 1:
		return errors.New("the container ends with this process: want another container, and SIGTERM for this one")
	case os.Getenv("INVOCATION_ID") != "":
		return errors.New("systemd ends all processes of a service with its first: want systemctl restart, which loses nothing with a socket unit")
	case s.stderr == nil:
		return errors.New("the log is no file, and ends with this process")
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if s.snapshot != nil {
		s.snapshot.save(ctx)
	}
	cmd := exec.Command(program, s.args...)
	cmd.Stdout, cmd.Stderr = s.stderr, s.stderr
	ctx, cancel := context.WithTimeoutCause(ctx, handOverWait, fmt.Errorf("it was not ready within %v", handOverWait))
	defer cancel()
	if err := edge.HandOver(ctx, cmd, s.sockets.list()...); err != nil {
		return err
	}
	s.log.Info("another gateway has taken over", "program", program)
	return nil
}

// An arrival is the other side: it opens the gate once a backend is up.
type arrival struct {
	apps   *balancer.Pool
	gate   *gate
	log    *slog.Logger
	failed func(error) // ends this gateway, which has served nobody
}

// Run lets the gateway before this one know that it can go.
func (a arrival) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, backendsWait, fmt.Errorf("none was up within %v", backendsWait))
	defer cancel()
	if err := a.apps.WaitReady(ctx); err != nil {
		a.failed(fmt.Errorf("this gateway does not take over: %w", err))
		return nil
	}
	a.gate.open()
	if err := edge.TookOver(); err != nil {
		a.log.Warn("the gateway before this one was gone", "cause", err)
	}
	a.log.Info("this gateway has taken over", "pid", os.Getpid())
	return nil
}

// before returns r as a runner that ends once over does.
func before(over context.Context, r edge.Runner) edge.Runner {
	return edge.RunnerFunc(func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(over, cancel)()
		return r.Run(ctx)
	})
}
