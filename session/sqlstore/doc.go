// Package sqlstore keeps sessions in a SQL database: MariaDB or MySQL, PostgreSQL, or
// SQLite. It imports no driver: whoever uses it has one.
//
//	db, err := sql.Open("pgx", "postgres://shop@10.0.0.5/shop")
//	db.SetMaxOpenConns(50)
//	db.SetMaxIdleConns(50) // the default of 2 opens a connection for nearly every call
//	store, err := sqlstore.New(db, sqlstore.PostgreSQL, sqlstore.Options{})
//	err = store.CreateTable(ctx) // or give your DBA store.Schema()
//	sessions, err := session.New(store, session.Options{})
//	go store.Run(ctx)            // deletes what has expired
//
// # What is kept
//
// A row is the key (the hash of a session's id: reading the table lets nobody in), a
// version, when it expires, and the data. All writes are single statements which
// compare the version and set another, so that they lose no update at any isolation
// level, from READ UNCOMMITTED to SERIALIZABLE, and hold no lock for longer than
// themselves.
//
// The time is the database's: the clocks of gateways may differ from it and from one
// another. After a failover it is the new primary's, and sessions expire as much
// earlier or later as the two differ. What has expired is not seen any more,
// whether it has been deleted or not.
//
// # What is tried again
//
// A statement of which the database says that it was not done, since it met another
// (deadlock, serialization failure, a locked SQLite file), is made again until the
// call's context ends. When a connection is lost, nobody knows whether its statement
// was done: then the row is looked at, which tells by its version, and what was not
// done is made again, up to twice. If somebody else has changed the row meanwhile
// nobody can tell any more, and the call fails: [session.ErrUnknown]. Of any call that fails for the database's
// sake, what it was to change may be changed, once, or not.
//
// # The database
//
// Read and write at the primary: a replica lags behind, and what was read there is
// then written for nothing, again and again. A pool of [database/sql] finds the
// primary through [github.com/foretier/foretier/balancer/tcp], as the Example shows.
// Replication that is not synchronous may lose what was acknowledged last.
//
// What drivers say is read by the codes that github.com/go-sql-driver/mysql,
// github.com/jackc/pgx, github.com/lib/pq, modernc.org/sqlite and
// github.com/mattn/go-sqlite3 have in their errors. SQLite wants a journal that lets
// readers go on, and some patience:
// "file:sessions.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(1000)".
package sqlstore
