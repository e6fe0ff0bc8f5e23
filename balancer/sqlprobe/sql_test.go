package sqlprobe

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/servertest"
)

const patience = 30 * time.Second

func init() { _ = mysql.SetLogger(log.New(io.Discard, "", 0)) }

func target(scheme, addr string) health.Target {
	return health.Target{Name: addr, URL: &url.URL{Scheme: scheme, Host: addr}}
}

// open connects as a caller of New would.
func open(t health.Target) (*sql.DB, error) {
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User = "tcp", t.Address(), "admin"
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func exec(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func connect(t *testing.T, s *servertest.Server) *sql.DB {
	t.Helper()
	db, err := open(target("tcp", s.Addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// until probes s until ok, and returns what it then said.
func until(t *testing.T, p health.Probe, s *servertest.Server, ok func(health.Result, error) bool) health.Result {
	t.Helper()
	var res health.Result
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		res, err = p.Probe(ctx, target("tcp", s.Addr))
		cancel()
		if ok(res, err) {
			return res
		}
	}
	t.Fatalf("in the end: %+v, %v", res, err)
	return res
}

func TestMariaDB(t *testing.T) {
	first, second := servertest.MariaDB(t, 1), servertest.MariaDB(t, 2, "--read-only")
	one, two := connect(t, first), connect(t, second)
	exec(t, one, "CREATE DATABASE ha", "CREATE TABLE ha.epoch (epoch INT)", "INSERT INTO ha.epoch VALUES (7)")
	_, port, err := net.SplitHostPort(first.Addr)
	if err != nil {
		t.Fatal(err)
	}
	p := New(open, Options{Epoch: "SELECT epoch FROM ha.epoch"})
	defer p.Close()

	res := until(t, p, first, func(r health.Result, err error) bool { return err == nil })
	if res.Role != health.RolePrimary || res.Epoch != 7 || res.State != health.Up || !strings.HasPrefix(res.Note, "primary at 0-1-") {
		t.Errorf("the primary: %+v", res)
	}
	if d := time.Since(res.Started); d < 0 || d > 10*time.Minute {
		t.Errorf("started %v ago", d)
	}

	plain := New(open, Options{})
	defer plain.Close()
	ctx := context.Background()
	res, err = plain.Probe(ctx, target("tcp", second.Addr))
	if err != nil || res.Role != health.RoleReplica || res.Lag < time.Hour || !strings.Contains(res.Note, "it does not replicate") {
		t.Errorf("a replica of nobody: %+v, %v", res, err)
	}
	exec(t, two, fmt.Sprintf("CHANGE MASTER TO master_host='127.0.0.1', master_port=%s, master_user='admin', master_use_gtid=slave_pos", port), "START REPLICA")
	until(t, p, second, func(r health.Result, err error) bool {
		return err == nil && r.Role == health.RoleReplica && r.Lag < time.Minute && r.Epoch == 7
	})

	// Behind, when it applies nothing.
	exec(t, two, "STOP REPLICA SQL_THREAD")
	before := until(t, p, second, func(health.Result, error) bool { return true })
	until(t, p, second, func(r health.Result, err error) bool { return err == nil && r.Lag > before.Lag+10*time.Millisecond })
	exec(t, two, "START REPLICA SQL_THREAD")
	until(t, p, second, func(r health.Result, err error) bool { return err == nil && r.Lag < time.Second })

	// Connections that are kept, and completed, as the server counts them.
	var name string
	var n, aborted int
	if err := two.QueryRow("SHOW GLOBAL STATUS LIKE 'Aborted_connects'").Scan(&name, &aborted); err != nil {
		t.Fatal(err)
	}
	if err := two.QueryRow("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'admin'").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n > 4 { // this one, two probes', a spare of this one's
		t.Errorf("%d connections are open", n)
	}
	// servertest's own look at the port is one.
	if aborted > 1 {
		t.Errorf("%d connections count as aborted", aborted)
	}

	// Promotion.
	first.Kill()
	until(t, p, first, func(_ health.Result, err error) bool { return health.Unreachable(err) })
	exec(t, two, "STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL read_only=0", "UPDATE ha.epoch SET epoch=8")
	res = until(t, p, second, func(r health.Result, err error) bool { return err == nil })
	if res.Role != health.RolePrimary || res.Epoch != 8 || !strings.HasPrefix(res.Note, "primary at 0-2-") {
		t.Errorf("promoted: %+v", res)
	}
	second.Pause()
	for err = nil; err == nil; { // it may take a moment to stop
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		_, err = p.Probe(short, target("tcp", second.Addr))
		cancel()
	}
	if health.Unreachable(err) {
		t.Errorf("a server that hangs: %v", err)
	}
	second.Resume()
	born := res.Started
	time.Sleep(1500 * time.Millisecond) // Uptime counts seconds
	second.Kill()
	second.Restart()
	res = until(t, p, second, func(r health.Result, err error) bool { return err == nil })
	if !res.Started.After(born.Add(time.Second / 2)) {
		t.Errorf("born again at %v, first at %v", res.Started, born)
	}
}

// TestNamedConnection holds that a replica whose connection to its primary has
// a name is known to be up to date, and that of several the slowest counts.
func TestNamedConnection(t *testing.T) {
	first, second := servertest.MariaDB(t, 1), servertest.MariaDB(t, 2, "--read-only")
	two := connect(t, second)
	_, port, err := net.SplitHostPort(first.Addr)
	if err != nil {
		t.Fatal(err)
	}
	p := New(open, Options{})
	defer p.Close()
	follow := "CHANGE MASTER '%s' TO master_host='127.0.0.1', master_port=%s, master_user='admin', master_use_gtid=slave_pos"
	exec(t, two, fmt.Sprintf(follow, "shop", port), "START SLAVE 'shop'")
	until(t, p, second, func(r health.Result, err error) bool {
		return err == nil && r.Role == health.RoleReplica && r.Lag < time.Second
	})
	exec(t, two, fmt.Sprintf(follow, "other", "1"))
	before := until(t, p, second, func(health.Result, error) bool { return true })
	until(t, p, second, func(r health.Result, err error) bool { return err == nil && r.Lag > before.Lag+10*time.Millisecond })
}

// TestInnoDBReadOnly holds that a server that cannot write is no primary, with
// read_only off: a reader of Aurora.
func TestInnoDBReadOnly(t *testing.T) {
	s := servertest.MariaDB(t, 1, "--innodb-read-only=1")
	p := New(open, Options{})
	defer p.Close()
	res := until(t, p, s, func(_ health.Result, err error) bool { return err == nil })
	if res.Role != health.RoleReplica || res.Lag < time.Hour || !strings.Contains(res.Note, "it does not replicate") {
		t.Errorf("got %+v", res)
	}
}

// A scripted is a driver that answers queries by their text, and others with a
// syntax error.
type scripted map[string][][]driver.Value

func (s scripted) Connect(context.Context) (driver.Conn, error) { return &scriptedConn{s}, nil }
func (s scripted) Driver() driver.Driver                        { return nil }

type scriptedConn struct{ scripted }

func (*scriptedConn) Prepare(string) (driver.Stmt, error) { return nil, driver.ErrSkip }
func (*scriptedConn) Close() error                        { return nil }
func (*scriptedConn) Begin() (driver.Tx, error)           { return nil, driver.ErrSkip }

func (c *scriptedConn) QueryContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	for part, rows := range c.scripted {
		if strings.Contains(query, part) {
			return &scriptedRows{rows}, nil
		}
	}
	return nil, &mysql.MySQLError{Number: 1064, Message: "You have an error in your SQL syntax"}
}

// scriptedRows are the columns' names, and the rows.
type scriptedRows struct{ left [][]driver.Value }

func (r *scriptedRows) Columns() (out []string) {
	for _, v := range r.left[0] {
		out = append(out, v.(string))
	}
	return out
}
func (*scriptedRows) Close() error { return nil }
func (r *scriptedRows) Next(to []driver.Value) error {
	if len(r.left) < 2 {
		return io.EOF
	}
	copy(to, r.left[1])
	r.left = append(r.left[:1:1], r.left[2:]...)
	return nil
}

// TestAuroraReader has a reader of Aurora, as its documentation describes it.
func TestAuroraReader(t *testing.T) {
	p := New(func(health.Target) (*sql.DB, error) {
		return sql.OpenDB(scripted{
			"GLOBAL VARIABLES":    {{"Variable_name", "Value"}, {"read_only", "OFF"}, {"innodb_read_only", "ON"}, {"version", "8.0.32"}},
			"GLOBAL STATUS":       {{"Variable_name", "Value"}, {"Uptime", "1000"}},
			"SHOW REPLICA STATUS": {{"Seconds_Behind_Source"}},
			"replica_host_status": {{"replica_lag_in_milliseconds"}, {[]byte("18.5")}},
			"gtid_executed":       {{"@@global.gtid_executed"}, {""}},
		}), nil
	}, Options{})
	defer p.Close()
	res, err := p.Probe(context.Background(), target("tcp", "192.0.2.1:3306"))
	if err != nil || res.Role != health.RoleReplica || res.Lag < 18*time.Millisecond || res.Lag > 20*time.Second {
		t.Errorf("got %+v, %v", res, err)
	}
}

// TestMariaDBTurnsTheProbeAway has a server that is well and does not serve the
// probe: that says nothing of its role.
func TestMariaDBTurnsTheProbeAway(t *testing.T) {
	s := servertest.MariaDB(t, 1, "--max-connections=10", "--disconnect-on-expired-password=1")
	admin := connect(t, s)
	admin.SetMaxOpenConns(1)
	exec(t, admin, "CREATE USER probe@'%' IDENTIFIED BY 'first'")
	p := New(func(t health.Target) (*sql.DB, error) {
		c := mysql.NewConfig()
		c.Net, c.Addr, c.User, c.Passwd = "tcp", t.Address(), "probe", "first"
		connector, err := mysql.NewConnector(c)
		if err != nil {
			return nil, err
		}
		return sql.OpenDB(connector), nil
	}, Options{})
	defer p.Close()
	until(t, p, s, func(r health.Result, err error) bool { return err == nil && r.Role == health.RolePrimary })

	// anew has the probe connect once more.
	anew := func() {
		t.Helper()
		var id int
		if err := admin.QueryRow("SELECT id FROM information_schema.processlist WHERE user = 'probe'").Scan(&id); err == nil {
			exec(t, admin, fmt.Sprintf("KILL HARD %d", id))
		}
	}
	wants := func(code string) {
		t.Helper()
		anew()
		until(t, p, s, func(r health.Result, err error) bool {
			if err != nil && !errors.Is(err, health.ErrTurnedAway) {
				t.Errorf("want %s that turns the probe away, got %v", code, err)
			}
			return err != nil && strings.Contains(err.Error(), code)
		})
	}
	exec(t, admin, "ALTER USER probe@'%' IDENTIFIED BY 'second'")
	wants("1045")
	exec(t, admin, "ALTER USER probe@'%' IDENTIFIED BY 'first'", "ALTER USER probe@'%' PASSWORD EXPIRE")
	wants("1862")
	exec(t, admin, "SET GLOBAL disconnect_on_expired_password = 0")
	wants("1820")
	exec(t, admin, "ALTER USER probe@'%' PASSWORD EXPIRE NEVER", "ALTER USER probe@'%' IDENTIFIED BY 'first'", "ALTER USER probe@'%' ACCOUNT LOCK")
	wants("4151")
	exec(t, admin, "ALTER USER probe@'%' ACCOUNT UNLOCK", "CREATE USER crowd@'%'")
	anew()
	for range 9 {
		c := mysql.NewConfig()
		c.Net, c.Addr, c.User = "tcp", s.Addr, "crowd"
		connector, err := mysql.NewConnector(c)
		if err != nil {
			t.Fatal(err)
		}
		one := sql.OpenDB(connector)
		defer one.Close()
		if err := one.Ping(); err != nil {
			t.Fatal(err)
		}
	}
	wants("1040")
}

// TestClockSetBack holds that a server whose clock is set back has not
// restarted, and that one that has restarted has.
func TestClockSetBack(t *testing.T) {
	s := servertest.MariaDB(t, 1)
	p := New(open, Options{})
	defer p.Close()
	until(t, p, s, func(_ health.Result, err error) bool { return err == nil })
	db := p.servers[s.Addr].db
	// For the one connection there is, which the server's uptime goes by too.
	exec(t, db, "SET timestamp = UNIX_TIMESTAMP() + 100")
	first := until(t, p, s, func(_ health.Result, err error) bool { return err == nil }).Started
	exec(t, db, "SET timestamp = UNIX_TIMESTAMP() - 5")
	if got := until(t, p, s, func(_ health.Result, err error) bool { return err == nil }).Started; got.Sub(first) != 0 {
		t.Errorf("its clock set back by 5 s, it says that it began %v later", got.Sub(first))
	}
	s.Kill()
	s.Restart()
	if got := until(t, p, s, func(_ health.Result, err error) bool { return err == nil }).Started; got.Sub(first) < 50*time.Second {
		t.Errorf("begun anew, it says that it began %v later", got.Sub(first))
	}
}

func TestGalera(t *testing.T) {
	p := New(open, Options{Galera: true})
	defer p.Close()
	alone := servertest.MariaDB(t, 9)
	res := until(t, p, alone, func(r health.Result, err error) bool { return err == nil })
	if res.State != health.Degraded || res.Role != "" || !strings.Contains(res.Note, "not a node") {
		t.Errorf("a server without a cluster: %+v", res)
	}
	lib := "/usr/lib/galera/libgalera_smm.so"
	gport := servertest.FreePort(t)
	node := servertest.MariaDB(t, 1, "--wsrep-on=1", "--wsrep-provider="+lib, "--wsrep-cluster-address=gcomm://",
		"--wsrep-new-cluster", "--wsrep-node-address=127.0.0.1",
		fmt.Sprintf("--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:%d;gcache.size=8M;ist.recv_addr=127.0.0.1:%d", gport, servertest.FreePort(t)),
		"--binlog-format=ROW", "--innodb-autoinc-lock-mode=2")
	res = until(t, p, node, func(r health.Result, err error) bool { return err == nil && r.State == health.Up })
	if res.Role != health.RolePeer {
		t.Errorf("a synced node: %+v", res)
	}
	db := connect(t, node)
	exec(t, db, "SET GLOBAL read_only=1")
	// It takes no writes. At its start it may desync once by itself.
	until(t, p, node, func(r health.Result, err error) bool { return err == nil && r.Role == health.RoleReplica })
	exec(t, db, "SET GLOBAL read_only=0", "SET GLOBAL wsrep_desync=1")
	res = until(t, p, node, func(r health.Result, err error) bool { return err == nil && r.LastResort })
	if res.Role != health.RolePeer || res.State != health.Up || !strings.Contains(res.Note, "not synced: Donor") {
		t.Errorf("a desynced node, which serves: %+v", res)
	}
	exec(t, db, "SET GLOBAL wsrep_desync=0")
	until(t, p, node, func(r health.Result, err error) bool { return err == nil && !r.LastResort && r.State == health.Up })
}

func TestUnsynced(t *testing.T) {
	cases := []struct {
		state, comment, cluster, ready, want string
		serves                               bool
	}{
		{"", "", "", "", "not a node of a Galera cluster", false},
		{"4", "Synced", "Primary", "ON", "", false},
		{"4", "Synced", "non-Primary", "OFF", "not in the primary component: non-Primary", false},
		{"2", "Donor/Desynced", "Primary", "ON", "not synced: Donor/Desynced", true},
		{"2", "Donor/Desynced", "Primary", "OFF", "not synced: Donor/Desynced", false},
		{"2", "Donor/Desynced", "non-Primary", "ON", "not in the primary component: non-Primary", false},
		{"3", "Joined", "Primary", "ON", "not synced: Joined", true},
		{"1", "Joining", "Primary", "OFF", "not synced: Joining", false},
		{"1", "Joining", "Primary", "ON", "not synced: Joining", false},
		{"4", "Synced", "Primary", "OFF", "takes no queries (wsrep_ready)", false},
	}
	for _, c := range cases {
		got, serves := unsynced(map[string]string{"wsrep_local_state": c.state, "wsrep_local_state_comment": c.comment,
			"wsrep_cluster_status": c.cluster, "wsrep_ready": c.ready})
		if got != c.want || serves != c.serves {
			t.Errorf("%+v: got %q, %t", c, got, serves)
		}
	}
}

func TestOpenThatFails(t *testing.T) {
	broken := errors.New("no password file")
	p := New(func(health.Target) (*sql.DB, error) { return nil, broken }, Options{})
	if _, err := p.Probe(context.Background(), target("tcp", "127.0.0.1:1")); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := p.Probe(context.Background(), target("tcp", "127.0.0.1:1")); !errors.Is(err, health.ErrTurnedAway) {
		t.Errorf("what could not be asked is taken for away: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
