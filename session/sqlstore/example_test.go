package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/foretier/foretier/balancer/tcp"
	"github.com/foretier/foretier/session"
	"github.com/foretier/foretier/session/sqlstore"
)

func Example() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	db, err := sql.Open("mysql", "shop:secret@tcp(10.0.0.5:3306)/shop")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(50)
	db.SetMaxIdleConns(50)
	store, err := sqlstore.New(db, sqlstore.MySQL, sqlstore.Options{Table: "sessions"})
	if err != nil {
		log.Fatal(err)
	}
	if err := store.CreateTable(ctx); err != nil {
		log.Print(err) // the database may come later
	}
	sessions, err := session.New(store, session.ShopOptions())
	if err != nil {
		log.Fatal(err)
	}
	defer sessions.Close() // and the store with it

	go store.Run(ctx) // or give it to edge.Server.Run, with the pools
	_ = sessions.Handler(http.NotFoundHandler())
}

// Two servers, one of which is the primary: the connections of the driver go to it,
// and are cut when it is another.
func Example_failover() {
	pool, err := tcp.New(tcp.Backends("tcp://10.0.0.31:3306", "tcp://10.0.0.32:3306"), tcp.Options{
		// Probe: sqlprobe.New(...), which asks them who is primary; pool.Run probes.
	})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	config := mysql.NewConfig()
	config.User, config.Passwd, config.DBName = "shop", "secret", "shop"
	config.Net, config.Addr = "tcp", "primary" // for the driver's logs
	config.DialFunc = pool.Only("writes", tcp.Primary).DialContext
	connector, err := mysql.NewConnector(config)
	if err != nil {
		log.Fatal(err)
	}
	store, err := sqlstore.New(sql.OpenDB(connector), sqlstore.MySQL, sqlstore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
}

// Schema prints what a DBA needs to make the table.
func ExampleStore_Schema() {
	db, err := sql.Open("mysql", "shop@tcp(10.0.0.5:3306)/shop")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	store, err := sqlstore.New(db, sqlstore.PostgreSQL, sqlstore.Options{Table: "shop.sessions"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(store.Schema())
	// Output:
	// CREATE TABLE IF NOT EXISTS "shop"."sessions" (
	//   id VARCHAR(64) COLLATE "C" NOT NULL PRIMARY KEY,
	//   version BIGINT NOT NULL,
	//   expires BIGINT NOT NULL, -- milliseconds since 1970
	//   data BYTEA NOT NULL
	// );
	// CREATE INDEX IF NOT EXISTS "sessions_expires" ON "shop"."sessions" (expires);
}
