// Package sqlprobe has probes that ask databases for their role: whether they
// are the primary, and how far a replica is behind.
//
// [SQL] asks MariaDB, MySQL and Galera clusters through a *sql.DB of the
// caller's, so that no driver is a dependency of this package; [Redis] speaks
// to Redis and Valkey by itself. Both complete the handshake, so that the
// server does not count them as failed connections (max_connect_errors).
//
//	probe := sqlprobe.New(func(t health.Target) (*sql.DB, error) {
//		c := mysql.NewConfig()
//		c.Net, c.Addr, c.User, c.Passwd = "tcp", t.Address(), "probe", password
//		connector, err := mysql.NewConnector(c)
//		if err != nil {
//			return nil, err
//		}
//		return sql.OpenDB(connector), nil
//	}, sqlprobe.Options{})
//	defer probe.Close()
//	db, err := tcp.New(tcp.Backends("tcp://10.0.0.31:3306", "tcp://10.0.0.32:3306"), tcp.Options{Probe: probe})
//	if err != nil {
//		return err
//	}
//	writes := db.Only("writes", tcp.Primary)
package sqlprobe
