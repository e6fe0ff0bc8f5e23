// Package grpctest puts a pool between a client and a server of grpc-go. It is
// a module of its own, so that users of the pool do not download grpc-go.
package grpctest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpchealth "google.golang.org/grpc/health"
	pb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/health"
)

// server is grpc-go with its own health service, and a method that echoes a
// stream.
func server(t *testing.T) (*grpchealth.Server, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	state := grpchealth.NewServer()
	s := grpc.NewServer()
	pb.RegisterHealthServer(s, state)
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Echo",
		HandlerType: (*any)(nil),
		Streams:     []grpc.StreamDesc{{StreamName: "Talk", ServerStreams: true, ClientStreams: true, Handler: talk}},
	}, nil)
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return state, "h2c://" + l.Addr().String()
}

func talk(_ any, stream grpc.ServerStream) error {
	stream.SetTrailer(metadata.Pairs("x-sum", "7"))
	for {
		var m pb.HealthCheckRequest
		if err := stream.RecvMsg(&m); err != nil {
			if errors.Is(err, io.EOF) {
				return status.Error(codes.DataLoss, "that was all")
			}
			return err
		}
		if err := stream.SendMsg(&m); err != nil {
			return err
		}
	}
}

// through returns a client whose calls go through a pool of the backends.
func through(t *testing.T, backends ...string) *grpc.ClientConn {
	t.Helper()
	pool, err := balancer.New(balancer.Backends(backends...), balancer.Options{Policy: balancer.RoundRobin()})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewUnstartedServer(pool)
	front.Config.Protocols = new(http.Protocols)
	front.Config.Protocols.SetUnencryptedHTTP2(true)
	front.Start()
	conn, err := grpc.NewClient(strings.TrimPrefix(front.URL, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		front.Close()
		_ = pool.Close()
	})
	return conn
}

func TestCalls(t *testing.T) {
	stateA, a := server(t)
	stateB, b := server(t)
	stateA.SetServingStatus("who", pb.HealthCheckResponse_SERVING)
	stateB.SetServingStatus("who", pb.HealthCheckResponse_NOT_SERVING)
	client := pb.NewHealthClient(through(t, a, b))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	seen := map[pb.HealthCheckResponse_ServingStatus]int{}
	for range 10 {
		res, err := client.Check(ctx, &pb.HealthCheckRequest{Service: "who"})
		if err != nil {
			t.Fatal(err)
		}
		seen[res.Status]++
	}
	if seen[pb.HealthCheckResponse_SERVING] != 5 || seen[pb.HealthCheckResponse_NOT_SERVING] != 5 {
		t.Errorf("ten calls over one connection went %v", seen)
	}
	if _, err := client.Check(ctx, &pb.HealthCheckRequest{Service: "nobody"}); status.Code(err) != codes.NotFound {
		t.Errorf("the status in the trailer: %v", err)
	}
}

func TestBothDirectionsStream(t *testing.T) {
	_, a := server(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	stream, err := through(t, a).NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Echo/Talk")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"one", "two", strings.Repeat("long", 100_000)} {
		if err := stream.SendMsg(&pb.HealthCheckRequest{Service: word}); err != nil {
			t.Fatal(err)
		}
		var got pb.HealthCheckRequest
		if err := stream.RecvMsg(&got); err != nil || got.Service != word {
			t.Fatalf("sent %d bytes, got %d, %v", len(word), len(got.Service), err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	err = stream.RecvMsg(new(pb.HealthCheckRequest))
	if status.Code(err) != codes.DataLoss || strings.Join(stream.Trailer()["x-sum"], "") != "7" {
		t.Errorf("the end: %v, trailer %v", err, stream.Trailer())
	}
}

func TestProbe(t *testing.T) {
	state, a := server(t)
	u, err := url.Parse(a)
	if err != nil {
		t.Fatal(err)
	}
	to := health.Target{Name: "a", URL: u}
	want := func(service string, s health.State, note string) {
		t.Helper()
		res, err := health.GRPC(service).Probe(t.Context(), to)
		if err != nil || res.State != s || res.Note != note {
			t.Errorf("got %+v, %v; want %v, %s", res, err, s, note)
		}
	}
	want("", health.Up, "serving")
	want("shop", health.Degraded, `has no service "shop"`)
	state.SetServingStatus("shop", pb.HealthCheckResponse_SERVING)
	want("shop", health.Up, "serving")
	state.SetServingStatus("shop", pb.HealthCheckResponse_NOT_SERVING)
	want("shop", health.Degraded, "not serving")
	want("", health.Up, "serving")
}
