package grpctest

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpchealth "google.golang.org/grpc/health"
	pb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// waiting is a server whose calls wait until they are cancelled, and tell of it.
func waiting(t *testing.T) (addr string, deadlines chan time.Duration, ended chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	deadlines, ended = make(chan time.Duration, 8), make(chan error, 8)
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		var m pb.HealthCheckRequest
		if err := stream.RecvMsg(&m); err != nil {
			return err
		}
		if m.Service == "begin" {
			if err := stream.SendMsg(&m); err != nil {
				return err
			}
		}
		ctx := stream.Context()
		if by, ok := ctx.Deadline(); ok {
			deadlines <- time.Until(by)
		}
		<-ctx.Done()
		ended <- ctx.Err()
		return status.FromContextError(ctx.Err()).Err()
	}))
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "h2c://" + l.Addr().String(), deadlines, ended
}

// TestDeadlines: a call's deadline is the server's too, and ends it.
func TestDeadlines(t *testing.T) {
	addr, deadlines, ended := waiting(t)
	client := pb.NewHealthClient(through(t, addr))
	const limit = 300 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	// Whose clock is first is open: grpc-go's server resets a call whose time is over, without
	// an answer.
	_, err := client.Check(ctx, &pb.HealthCheckRequest{})
	if code := status.Code(err); code != codes.DeadlineExceeded && code != codes.Unavailable {
		t.Errorf("got %v", err)
	}
	if got := <-deadlines; got > limit {
		t.Errorf("the server was told %v", got)
	}
	<-ended
}

// TestCancellation reaches the server, before it has said anything and after.
func TestCancellation(t *testing.T) {
	addr, _, ended := waiting(t)
	conn := through(t, addr)
	for _, word := range []string{"begin", "say nothing"} {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Wait/Wait")
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.SendMsg(&pb.HealthCheckRequest{Service: word}); err != nil {
			t.Fatal(err)
		}
		if word == "begin" {
			if err := stream.RecvMsg(new(pb.HealthCheckRequest)); err != nil {
				t.Fatal(err)
			}
		} else {
			time.Sleep(50 * time.Millisecond) // as a rule the server has the message by then; if not, less is tested
		}
		cancel()
		if err := stream.RecvMsg(new(pb.HealthCheckRequest)); status.Code(err) != codes.Canceled {
			t.Errorf("%s: %v", word, err)
		}
		if word == "begin" {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("%s: the server's call ended with %v", word, err)
			}
		}
	}
}

// TestManyStreams at once, each with messages both ways that are larger than a frame.
func TestManyStreams(t *testing.T) {
	_, a := server(t)
	conn := through(t, a)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Echo/Talk")
			if err != nil {
				t.Error(err)
				return
			}
			word := strings.Repeat(string(rune('a'+i%26)), 40_000+i)
			go func() {
				for range 10 {
					if stream.SendMsg(&pb.HealthCheckRequest{Service: word}) != nil {
						return // RecvMsg says why
					}
				}
				_ = stream.CloseSend()
			}()
			n := 0
			for {
				var m pb.HealthCheckRequest
				err := stream.RecvMsg(&m)
				if status.Code(err) == codes.DataLoss { // the end
					break
				}
				if err != nil || m.Service != word {
					t.Errorf("message %d of %d: %d bytes, %v", n, i, len(m.Service), err)
					return
				}
				n++
			}
			if n != 10 || strings.Join(stream.Trailer()["x-sum"], "") != "7" {
				t.Errorf("%d messages of %d, trailer %v", n, i, stream.Trailer())
			}
		})
	}
	wg.Wait()
}

// TestAnErrorAlone is an answer that has nothing but its trailers, which stand in its head.
func TestAnErrorAlone(t *testing.T) {
	_, a := server(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var trailer metadata.MD
	conn := through(t, a)
	_, err := pb.NewHealthClient(conn).Check(ctx, &pb.HealthCheckRequest{Service: "nobody"}, grpc.Trailer(&trailer))
	if status.Code(err) != codes.NotFound || status.Convert(err).Message() != "unknown service" {
		t.Errorf("got %v", err)
	}
	err = conn.Invoke(ctx, "/test.Nobody/Nothing", &pb.HealthCheckRequest{}, new(pb.HealthCheckResponse))
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("got %v", err)
	}
}

// TestGracefulStopUnderLoad: servers that are stopped and started in turn lose no call, and
// none is answered twice.
func TestGracefulStopUnderLoad(t *testing.T) {
	var answered atomic.Int64
	start := func(addr string) (*grpc.Server, string) {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		s := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			answered.Add(1)
			return h(ctx, req)
		}))
		pb.RegisterHealthServer(s, grpchealth.NewServer())
		go func() { _ = s.Serve(l) }() // until it is stopped
		return s, l.Addr().String()
	}
	s1, a1 := start("127.0.0.1:0")
	s2, a2 := start("127.0.0.1:0")
	client := pb.NewHealthClient(through(t, "h2c://"+a1, "h2c://"+a2))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var calls atomic.Int64
	stop, each := make(chan struct{}), make(chan struct{}, 1)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := client.Check(ctx, &pb.HealthCheckRequest{}); err != nil {
					t.Errorf("call %d: %v", calls.Load(), err)
					return
				}
				calls.Add(1)
				select {
				case each <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 3 {
		for _, s := range []struct {
			server **grpc.Server
			addr   string
		}{{&s1, a1}, {&s2, a2}} {
			for range 100 {
				<-each
			}
			(*s.server).GracefulStop()
			*s.server, _ = start(s.addr)
		}
	}
	close(stop)
	wg.Wait()
	s1.Stop()
	s2.Stop()
	if n := calls.Load(); n == 0 || answered.Load() != n {
		t.Errorf("%d calls, %d answered", n, answered.Load())
	}
}

// TestAServerThatEndsInsideAStream: what had come has, and its client is told.
func TestAServerThatEndsInsideAStream(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		if err := stream.SendMsg(&pb.HealthCheckRequest{Service: "once"}); err != nil {
			return err
		}
		<-stream.Context().Done()
		return stream.Context().Err()
	}))
	go func() { _ = s.Serve(l) }() // until it is stopped
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	stream, err := through(t, "h2c://"+l.Addr().String()).NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/test.Once/Once")
	if err == nil {
		err = stream.CloseSend()
	}
	if err != nil {
		t.Fatal(err)
	}
	var m pb.HealthCheckRequest
	if err := stream.RecvMsg(&m); err != nil || m.Service != "once" {
		t.Errorf("%q, %v", m.Service, err)
	}
	s.Stop()
	if err := stream.RecvMsg(&m); err == nil || err == io.EOF {
		t.Errorf("then %v", err)
	}
}
