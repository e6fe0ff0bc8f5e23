package sqlprobe

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/foretier/foretier/health"
)

// Options of [New]. The zero Options are valid.
type Options struct {
	// Galera says that the servers are nodes of a Galera cluster: each that is
	// synced and in the primary component is a peer, and a pool writes to one
	// of them. One that is desynced and serves, a donor, is a peer that is used
	// while no synced one is left.
	Galera bool
	// Epoch is a query for one number that whoever promotes a server counts
	// up, such as "SELECT epoch FROM ha.epoch". Empty: nobody counts.
	Epoch string
}

// SQL is a probe for MariaDB, MySQL and Galera. It is safe for concurrent use.
//
// A server whose read_only and innodb_read_only are off is a primary, any other
// a replica: replicas must be read_only, also after a restart, or they claim to
// be primary. Its
// user needs no privilege for that; to know a replica's lag it needs REPLICA
// MONITOR (MariaDB) or REPLICATION CLIENT (MySQL).
//
// A replica that has lost its primary is behind by the time since it last
// heard of it and had caught up.
//
// A server that refuses the probe, by an error of the driver's that has a
// Number or Code of the server's, turns it away ([health.ErrTurnedAway]): too
// many connections, a wrong or expired password, a privilege that is missing.
// So does an open that fails. As long as its connection lasts, the server has
// not been started anew, however its clock is set.
type SQL struct {
	open func(health.Target) (*sql.DB, error)
	opts Options

	mu      sync.Mutex
	servers map[string]*server // guarded by mu: by address
}

// A server is what the probe keeps of one.
type server struct {
	mu     sync.Mutex // one probe of it at a time
	db     *sql.DB
	conn   *sql.Conn // the probe's, while one is under way
	clock  clock
	gtid   string    // the query for its position; empty: not known yet
	status string    // the statement that shows replication
	caught time.Time // up to when it had all of its primary's writes; zero: not known
	noLag  error     // why the lag is not known
}

// New returns a probe that opens each target once, by open, and keeps one
// connection to it. See the package's example.
func New(open func(health.Target) (*sql.DB, error), opts Options) *SQL {
	return &SQL{open: open, opts: opts, servers: make(map[string]*server)}
}

// Close closes the connections. It is idempotent; a later probe opens anew.
func (p *SQL) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, s := range p.servers {
		errs = append(errs, s.db.Close())
	}
	clear(p.servers)
	return errors.Join(errs...)
}

func (p *SQL) server(t health.Target) (*server, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.servers[t.Address()]; s != nil {
		return s, nil
	}
	db, err := p.open(t)
	if err != nil { // the server has not been asked
		return nil, fmt.Errorf("sqlprobe: %w: %w", health.ErrTurnedAway, err)
	}
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
	s := &server{db: db}
	p.servers[t.Address()] = s
	return s, nil
}

// Probe implements [health.Probe].
func (p *SQL) Probe(ctx context.Context, t health.Target) (health.Result, error) {
	s, err := p.server(t)
	if err != nil {
		return health.Result{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	res, err := p.ask(ctx, s)
	if errors.Is(err, driver.ErrBadConn) { // the one that was kept is no more
		res, err = p.ask(ctx, s)
	}
	switch number, told := serverError(err); {
	case err == nil:
		return res, nil
	case told && number == notPrepared && p.opts.Galera:
		return health.Result{State: health.Degraded, Note: err.Error()}, nil
	case told && number != notPrepared && number != shuttingDown:
		err = fmt.Errorf("%w: %w", health.ErrTurnedAway, err)
	}
	return health.Result{}, fmt.Errorf("sqlprobe: %w", err)
}

// The errors of a server's that are about itself and not about who asks: a node
// of a Galera cluster that is not fit for use, and a server that ends.
const (
	notPrepared  = 1047
	shuttingDown = 1053
)

// serverError returns the number of an error that the server itself sent. The
// driver is the caller's, so it is known by its form: a field Number, as with
// go-sql-driver, or Code.
func serverError(err error) (number uint64, ok bool) {
	for ; err != nil; err = errors.Unwrap(err) {
		v := reflect.Indirect(reflect.ValueOf(err))
		if v.Kind() != reflect.Struct {
			continue
		}
		for _, name := range []string{"Number", "Code"} {
			if f := v.FieldByName(name); f.IsValid() && f.CanUint() && f.Uint() >= 1000 {
				return f.Uint(), true
			}
		}
	}
	return 0, false
}

// ask asks once, on one connection.
func (p *SQL) ask(ctx context.Context, s *server) (res health.Result, err error) {
	if s.conn, err = s.db.Conn(ctx); err != nil {
		return res, err
	}
	defer s.conn.Close() // which keeps it
	began := time.Now()
	variables, err := s.named(ctx, "VARIABLES", "read_only", "innodb_read_only", "version")
	if err != nil {
		return res, err
	}
	asked := time.Now()
	status, err := s.named(ctx, "STATUS", "Uptime", "wsrep_local_state", "wsrep_local_state_comment", "wsrep_cluster_status", "wsrep_ready")
	if err != nil {
		return res, err
	}
	res = health.Result{State: health.Up, Role: health.RoleReplica}
	if began := started(asked, time.Now(), status["uptime"]); !began.IsZero() {
		if res.Started, err = s.clock.began(s.conn, began); err != nil {
			return res, err
		}
	}
	shared := isOn(variables["innodb_read_only"])
	if isOff(variables["read_only"]) && !shared {
		res.Role = health.RolePrimary
	}
	if p.opts.Galera {
		if res = clustered(res, status); res.State != health.Up {
			return res, nil
		}
	} else {
		if res.Role == health.RoleReplica {
			res.Lag = s.lag(ctx, began, shared)
		}
		res.Note = res.Role + s.position(ctx, variables["version"])
		if s.noLag != nil && res.Role == health.RoleReplica {
			res.Note += ", lag not known: " + s.noLag.Error()
		}
	}
	if p.opts.Epoch != "" {
		if err := s.conn.QueryRowContext(ctx, p.opts.Epoch).Scan(&res.Epoch); err != nil {
			return res, fmt.Errorf("epoch: %w", err)
		}
	}
	return res, ctx.Err()
}

// clustered returns what res means of a node of Galera.
func clustered(res health.Result, status map[string]string) health.Result {
	why, serves := unsynced(status)
	if why != "" && !serves {
		return health.Result{State: health.Degraded, Note: why}
	}
	if res.Role == health.RolePrimary {
		res.Role = health.RolePeer
	}
	res.LastResort = serves
	res.Note = res.Role + ", " + cmp.Or(why, "synced")
	return res
}

// A clock tells when a server's process began, which it says by a clock that
// may be set. As long as one connection lasts it is the same process, whatever
// its clock says.
type clock struct {
	conn any           // the driver's, on which the latest was told
	told time.Time     // when the process began, as it says
	set  time.Duration // by how much its clock has made that later
}

// began returns when the process began that says told on conn.
func (c *clock) began(conn *sql.Conn, told time.Time) (time.Time, error) {
	var now any
	if err := conn.Raw(func(dc any) error { now = dc; return nil }); err != nil {
		return time.Time{}, err
	}
	same := now != nil && reflect.TypeOf(now).Comparable() && now == c.conn
	if same {
		c.set += told.Sub(c.told)
	}
	c.conn, c.told = now, told
	return told.Add(-c.set), nil
}

func isOff(value string) bool { return value == "0" || strings.EqualFold(value, "OFF") }
func isOn(value string) bool  { return value == "1" || strings.EqualFold(value, "ON") }

// named returns those of the server's variables or counters that have one of
// the names, in lower case. Not every server has all.
func (s *server) named(ctx context.Context, what string, names ...string) (map[string]string, error) {
	rows, err := s.conn.QueryContext(ctx, "SHOW GLOBAL "+what+" WHERE Variable_name IN ('"+strings.Join(names, "', '")+"')")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := make(map[string]string)
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		out[strings.ToLower(name)] = value
	}
	return out, rows.Err()
}

// started returns when a server's process began, which has been up for some
// seconds as it says when asked; zero: it does not say, or took so long that
// it could be taken for another that began later.
func started(asked, answered time.Time, uptime string) time.Time {
	up, err := strconv.ParseInt(uptime, 10, 64)
	if err != nil || answered.Sub(asked) > slow {
		return time.Time{}
	}
	return asked.Add(-time.Duration(up) * time.Second)
}

// slow is an answer that took longer: together with the second to which uptime
// is told it must stay below the two that make a restart for the pool.
const slow = 500 * time.Millisecond

// unsynced returns why a Galera node is not to be used, or "". One that serves
// all the same, such as a donor, is to be used last.
func unsynced(status map[string]string) (why string, serves bool) {
	const donor, joined, synced = "2", "3", "4"
	state := status["wsrep_local_state"]
	switch {
	case state == "":
		return "not a node of a Galera cluster", false
	case status["wsrep_cluster_status"] != "Primary":
		return "not in the primary component: " + status["wsrep_cluster_status"], false
	case state != synced:
		why = "not synced: " + status["wsrep_local_state_comment"]
		return why, (state == donor || state == joined) && strings.EqualFold(status["wsrep_ready"], "ON")
	case !strings.EqualFold(status["wsrep_ready"], "ON"):
		return "takes no queries (wsrep_ready)", false
	}
	return "", false
}

// position returns the server's GTID position for a reader, who may have to
// choose which replica to promote. Servers without GTIDs have none.
func (s *server) position(ctx context.Context, version string) string {
	if s.gtid == "" {
		s.gtid = "SELECT @@global.gtid_executed"
		if strings.Contains(version, "MariaDB") {
			s.gtid = "SELECT @@global.gtid_current_pos"
		}
	}
	var pos string
	if err := s.conn.QueryRowContext(ctx, s.gtid).Scan(&pos); err != nil || pos == "" {
		return ""
	}
	return " at " + strings.ReplaceAll(pos, "\n", "")
}

// lag returns how far the replica was behind at now. One whose InnoDB is
// read-only may share the primary's storage, as Aurora's readers do, and then
// replicates nothing.
func (s *server) lag(ctx context.Context, now time.Time, shared bool) time.Duration {
	var behind time.Duration
	var connected bool
	behind, connected, s.noLag = s.behind(ctx)
	if s.noLag != nil && shared {
		var ms float64
		if s.conn.QueryRowContext(ctx, aurora).Scan(&ms) == nil {
			behind, connected, s.noLag = time.Duration(ms*float64(time.Millisecond)), true, nil
		}
	}
	if s.noLag == nil && connected {
		s.caught = now.Add(-behind)
	}
	if s.caught.IsZero() {
		return math.MaxInt64
	}
	return max(now.Sub(s.caught), 0)
}

// aurora asks a reader of Amazon Aurora how far it is behind.
const aurora = "SELECT replica_lag_in_milliseconds FROM information_schema.replica_host_status WHERE server_id = @@aurora_server_id"

// replication are the statements that show how a server replicates. MariaDB
// shows connections that have a name by the first two only; the others are
// MySQL's, before 8.0.22 the last.
var replication = []string{"SHOW ALL REPLICAS STATUS", "SHOW ALL SLAVES STATUS", "SHOW REPLICA STATUS", "SHOW SLAVE STATUS"}

// behind asks the replica itself, which knows as long as it hears from its
// primary.
func (s *server) behind(ctx context.Context) (lag time.Duration, connected bool, err error) {
	statements := replication
	if s.status != "" {
		statements = []string{s.status}
	}
	var rows []map[string]string
	for _, s.status = range statements {
		if rows, err = s.query(ctx, s.status); err == nil {
			break
		}
	}
	if err != nil {
		s.status = ""
		return 0, false, err
	}
	if len(rows) == 0 {
		return 0, false, errors.New("it does not replicate")
	}
	for _, row := range rows { // of several primaries the slowest counts
		value, ok := row["seconds_behind_master"]
		if !ok {
			value = row["seconds_behind_source"]
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return 0, false, nil // NULL: it hears nothing, or applies nothing
		}
		lag = max(lag, time.Duration(n)*time.Second)
	}
	return lag, true, nil
}

// query returns the rows of a statement by lower-case column, NULL as "".
func (s *server) query(ctx context.Context, statement string) ([]map[string]string, error) {
	rows, err := s.conn.QueryContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var out []map[string]string
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		to := make([]any, len(columns))
		for i := range values {
			to[i] = &values[i]
		}
		if err := rows.Scan(to...); err != nil {
			return nil, err
		}
		row := make(map[string]string, len(columns))
		for i, name := range columns {
			row[strings.ToLower(name)] = values[i].String
		}
		out = append(out, row)
	}
	return out, rows.Err()
}
