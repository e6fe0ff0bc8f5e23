package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// predecessorPID is the environment variable with the process that hands over, as
// LISTEN_PID is one with the process that is handed to, of which nobody knows the number
// before it runs.
const predecessorPID = "FORETIER_PREDECESSOR_PID"

// HandOver starts cmd, which is to serve on the listeners in this process's place: another
// version of the same program, perhaps. It gets them from [Inherited], in this order, and
// says that it serves by [TookOver]. Then HandOver returns nil, and this process has its
// servers end as always, by a context whose cause is [ErrHandedOver]:
//
//	ctx, cancel := context.WithCancelCause(ctx)
//	...
//	err := edge.HandOver(within, exec.Command(os.Args[0], os.Args[1:]...), listener)
//	if err == nil {
//		cancel(edge.ErrHandedOver)
//	}
//	...
//	err = srv.Run(ctx)
//
// Both accept connections from the moment on at which the other one does, and the socket
// is never closed; so no connection is refused, and none that waits is lost.
//
// If the other process ends before it serves, or does not serve before ctx ends, it is
// ended, and the error says so: this process goes on. The listeners are those of package
// net and of [ListenUnix], before anything wraps them, and stay open. cmd must not have been made by
// exec.CommandContext; its Stdout and Stderr are files or nil, as is what outlives this
// process, and it has no ExtraFiles. Systems without descriptors that processes inherit
// answer with [errors.ErrUnsupported].
func HandOver(ctx context.Context, cmd *exec.Cmd, listeners ...net.Listener) (err error) {
	for _, out := range []any{cmd.Stdout, cmd.Stderr} {
		if _, ok := out.(*os.File); out != nil && !ok {
			return fmt.Errorf("edge: the output of the process that takes over is a %T: want an *os.File, which outlives this process", out)
		}
	}
	switch {
	case len(listeners) == 0:
		return errors.New("edge: there is no listener to hand over")
	case cmd.ExtraFiles != nil:
		return errors.New("edge: the process that takes over is to get ExtraFiles: want none, the listeners are these")
	}
	// Closing what is the other's, too, is no fault of the hand-over.
	defer func() {
		for _, f := range cmd.ExtraFiles {
			_ = f.Close()
		}
	}()
	for _, l := range listeners {
		f, err := descriptorOf(l)
		if err != nil {
			return fmt.Errorf("edge: listener %s cannot be handed over: %w", l.Addr(), err)
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	heard, says, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	defer heard.Close()
	cmd.ExtraFiles = append(cmd.ExtraFiles, says)
	cmd.Env = append(slices.DeleteFunc(cmd.Environ(), func(v string) bool { return strings.HasPrefix(v, "LISTEN_") }),
		"LISTEN_FDS="+strconv.Itoa(len(listeners)), predecessorPID+"="+strconv.Itoa(os.Getpid()))
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	_ = says.Close() // from now on it is the other's alone, and its end is heard
	defer context.AfterFunc(ctx, func() { _ = heard.SetReadDeadline(time.Unix(1, 0)) })()
	if _, err := heard.Read(make([]byte, 1)); err != nil {
		_ = cmd.Process.Kill() // it may have ended
		ended := cmd.Wait()
		if ctx.Err() != nil {
			return fmt.Errorf("edge: the process that was to take over did not serve in time and was killed: %w", context.Cause(ctx))
		}
		return fmt.Errorf("edge: the process that was to take over ended before it served: %w", errors.Join(ended, errUnsaid))
	}
	for _, l := range listeners {
		switch l := l.(type) { // its file is the other's
		case *net.UnixListener:
			l.SetUnlinkOnClose(false)
		case interface{ Leave() }:
			l.Leave()
		}
	}
	_ = cmd.Process.Release() // which cannot fail on what runs
	return nil
}

var errUnsaid = errors.New("it did not call TookOver")

// What a process has been handed, it has once: the pipe by which it says that it serves.
var successor struct {
	mu   sync.Mutex
	says *os.File // guarded by mu; nil: nobody waits to hear it
}

// succeed keeps the descriptor of the pipe.
func succeed(fd int) {
	closeOnExec(fd)
	successor.mu.Lock()
	defer successor.mu.Unlock()
	successor.says = os.NewFile(uintptr(fd), "predecessor")
}

// Succeeds reports whether another process is waiting for this one to take over: from the
// call of [Inherited] on to that of [TookOver].
func Succeeds() bool {
	successor.mu.Lock()
	defer successor.mu.Unlock()
	return successor.says != nil
}

// TookOver says to the process that called [HandOver] that this one serves, which is when
// that one begins to drain. If there is none it does nothing. An error is that the other
// has not heard it: it has ended, or has given up waiting.
func TookOver() error {
	successor.mu.Lock()
	defer successor.mu.Unlock()
	if successor.says == nil {
		return nil
	}
	_, err := successor.says.Write([]byte{1})
	err = errors.Join(err, successor.says.Close())
	if successor.says = nil; err != nil {
		return fmt.Errorf("edge: the process before this one does not hear that it is taken over: %w", err)
	}
	return nil
}
