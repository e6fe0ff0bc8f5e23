package sqlprobe_test

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/foretier/foretier/balancer/sqlprobe"
	"github.com/foretier/foretier/balancer/tcp"
	"github.com/foretier/foretier/health"
)

func Example() {
	probe := sqlprobe.New(func(t health.Target) (*sql.DB, error) {
		c := mysql.NewConfig()
		c.Net, c.Addr, c.User, c.Passwd = "tcp", t.Address(), "probe", "its password"
		connector, err := mysql.NewConnector(c)
		if err != nil {
			return nil, err
		}
		return sql.OpenDB(connector), nil
	}, sqlprobe.Options{})
	defer probe.Close()

	db, err := tcp.New(tcp.Backends("tcp://10.0.0.31:3306", "tcp://10.0.0.32:3306"), tcp.Options{
		Probe: probe,
		// In production: Roles: tcp.Roles{Memory: "/var/lib/shop/primary"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	writes := db.Only("writes", tcp.Primary)
	reads := db.Only("reads", tcp.Replicas(5*time.Second), tcp.Primary)

	// go db.Run(ctx), which probes. Until then nobody is known to be primary:
	_, err = writes.DialContext(context.Background(), "tcp", "")
	fmt.Println(err)
	fmt.Println(len(reads.Backends()), "replicas")
	// Output:
	// balancer: no backend available
	// 0 replicas
}
