package tcp_test

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/foretier/foretier/balancer/tcp"
	"github.com/foretier/foretier/health"
)

// Connections are carried to the primary of a database, and those that only
// read to its replicas.
func ExamplePool_Only() {
	// In production sqlprobe.New or sqlprobe.Redis; here db1 is the primary.
	probe := health.ProbeFunc(func(_ context.Context, t health.Target) (health.Result, error) {
		role := health.RoleReplica
		if t.Name == "db1" {
			role = health.RolePrimary
		}
		return health.Result{State: health.Up, Role: role}, nil
	})
	db, err := tcp.New([]tcp.Backend{
		{Name: "db1", URL: "tcp://10.0.0.31:3306"},
		{Name: "db2", URL: "tcp://10.0.0.32:3306"},
	}, tcp.Options{Probe: probe})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	writes := db.Only("writes", tcp.Primary)
	reads := db.Only("reads", tcp.Replicas(5*time.Second), tcp.Primary)

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	probed := make(chan error, 1)
	go func() { probed <- db.Run(ctx) }()
	if err := writes.WaitReady(ctx); err != nil {
		fmt.Println(err)
		return
	}
	// writes.Serve(ctx, listener) carries connections; a driver dials by
	// writes.DialContext.
	fmt.Println(writes.Backends()[0].Name)
	if err := reads.WaitReady(ctx); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(reads.Backends()) > 0)
	cancel()
	fmt.Println(<-probed)
	// Output:
	// db1
	// true
	// <nil>
}

// A pool carries TCP like a proxy, byte for byte.
func ExamplePool_Serve() {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	go func() {
		if c, err := server.Accept(); err == nil {
			fmt.Fprint(c, "hello from the server")
			c.Close()
		}
	}()

	pool, err := tcp.New(tcp.Backends("tcp://"+server.Addr().String()), tcp.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- pool.Serve(ctx, front) }()

	c, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	text := make([]byte, 100)
	n, _ := c.Read(text)
	fmt.Println(string(text[:n]))
	c.Close()
	cancel()
	fmt.Println(<-served)
	// Output:
	// hello from the server
	// <nil>
}
