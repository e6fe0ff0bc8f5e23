package tcp_test

import (
	"context"
	"fmt"
	"io"
	"net"

	"github.com/foretier/foretier/balancer/tcp"
)

// A driver of a database connects by the pool, to whichever server there is: as
// mysql.RegisterDialContext and pgx's DialFunc want it.
func ExamplePool_DialContext() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	go func() { // a database that greets
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "hello")
		_ = c.Close()
	}()
	db, err := tcp.New([]tcp.Backend{{Name: "db1", URL: "tcp://" + l.Addr().String()}}, tcp.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	var dial func(ctx context.Context, network, address string) (net.Conn, error) = db.DialContext
	c, err := dial(context.Background(), "tcp", "db:3306")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	greeting, err := io.ReadAll(c)
	fmt.Println(string(greeting), err)
	// Output: hello <nil>
}
