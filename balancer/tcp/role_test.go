package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
)

// A cluster is some servers that send their names, and what a probe is told
// of each.
type cluster struct {
	mu    sync.Mutex
	says  map[string]health.Result // guarded by mu: by name; without one, the server does not answer
	errs  map[string]error         // guarded by mu: what comes of a probe instead
	names map[string]string        // by address
	list  []Backend
}

// newCluster starts servers a, b, c ...
func newCluster(t *testing.T, says ...health.Result) *cluster {
	c := &cluster{says: make(map[string]health.Result), errs: make(map[string]error), names: make(map[string]string)}
	for i, s := range says {
		name := string(rune('a' + i))
		addr := testkit.Backend(t, testkit.Echo(name))
		c.says[name], c.names[addr] = s, name
		c.list = append(c.list, Backend{Name: name, URL: "tcp://" + addr})
	}
	return c
}

var (
	primary = health.Result{State: health.Up, Role: health.RolePrimary}
	replica = health.Result{State: health.Up, Role: health.RoleReplica}
)

func (c *cluster) say(name string, r health.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.says[name] = r
}

// refuse has name answer its probes by err; nil: as before.
func (c *cluster) refuse(name string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs[name] = err
}

// die has name answer no probe.
func (c *cluster) die(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.says, name)
}

// Probe implements [health.Probe].
func (c *cluster) Probe(_ context.Context, t health.Target) (health.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.errs[c.names[t.Address()]]; err != nil {
		return health.Result{}, err
	}
	r, ok := c.says[c.names[t.Address()]]
	if !ok {
		return r, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	return r, nil
}

// pool returns a running pool of the cluster.
func (c *cluster) pool(t *testing.T, opts Options) *Pool {
	t.Helper()
	opts.Probe = c
	if opts.Schedule == (health.Schedule{}) {
		opts.Schedule = health.Schedule{Every: 2 * time.Millisecond, Changing: 2 * time.Millisecond}
	}
	p := newPool(t, c.list, opts)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return p
}

// backends are a pool or an excerpt.
type backends interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	Backends() []Status
}

// wants waits until want is what connecting to p brings: a server's name, or
// "" for none.
func wants(t *testing.T, p backends, want string) {
	t.Helper()
	got := "?"
	for end := time.Now().Add(patience); time.Now().Before(end); runtime.Gosched() {
		if got = who(p); got == want {
			return
		}
	}
	t.Fatalf("got %q, want %q: %+v", got, want, p.Backends())
}

func who(p backends) string {
	c, err := p.DialContext(context.Background(), "", "")
	if err != nil {
		return ""
	}
	defer c.Close()
	name := make([]byte, 1)
	if err := readFull(c, name); err != nil {
		return ""
	}
	return string(name)
}

func TestFailover(t *testing.T) {
	var log testkit.Log
	c := newCluster(t, primary, replica)
	db := c.pool(t, Options{Logger: log.Logger()})
	writes := db.Only("writes", Primary)
	reads := db.Only("reads", Replicas(time.Second), Primary)
	wants(t, writes, "a")
	wants(t, reads, "b")
	conn, err := writes.DialContext(context.Background(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := readFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}

	c.die("a")
	wants(t, writes, "")
	if err := dialErr(writes); !errors.Is(err, ErrNoBackend) || !strings.Contains(err.Error(), "a was primary, which is to be confirmed; b is a replica") {
		t.Errorf("without a primary: %v", err)
	}
	if state := writes.Report().State; state != health.Down {
		t.Errorf("without a primary the pool of writes is %v", state)
	}
	c.say("b", primary)
	wants(t, writes, "b")
	wants(t, reads, "b") // as the last resort
	if err := readFull(conn, make([]byte, 1)); !errors.Is(err, ErrMoved) {
		t.Errorf("the connection to the old primary: %v", err)
	}
	log.Wants(t, "is primary in the place of a", "level=WARN", "backend=b")

	// The old one comes back, and somebody has forgotten to make it a replica.
	c.say("a", primary)
	log.Wants(t, "fenced: claims to be primary beside b", "level=ERROR", "backend=a")
	for range 20 {
		if got := who(writes); got != "b" {
			t.Fatalf("a write went to %q", got)
		}
	}
	part := db.Report().Parts[0]
	if part.State < health.Degraded || !strings.HasPrefix(part.Why, "fenced: ") {
		t.Errorf("the report says %v, %q", part.State, part.Why)
	}

	// It does not follow b, which it has missed the updates of.
	c.die("b")
	wants(t, writes, "")
	wants(t, reads, "")
	c.say("b", primary)
	wants(t, writes, "b")

	c.say("a", replica)
	wants(t, reads, "a")
	log.Wants(t, "no longer fenced", "backend=a")
}

func dialErr(p backends) error {
	c, err := p.DialContext(context.Background(), "", "")
	if err == nil {
		c.Close()
	}
	return err
}

// TestRefusalUnseats holds that a primary that refused a connection gets none
// before a probe, begun after that, has confirmed what it is.
func TestRefusalUnseats(t *testing.T) {
	c := newCluster(t, primary, replica)
	db := c.pool(t, Options{Schedule: health.Schedule{Every: time.Hour, Changing: time.Hour}})
	writes := db.Only("writes", Primary)
	wants(t, writes, "a")
	e := db.view.Snap.Load().ByName("a")
	c.die("a") // the next probe would see it, in an hour
	db.roles.missed(e, time.Now())
	wants(t, writes, "")
	c.say("a", primary)
	c.say("b", primary) // promoted meanwhile
	db.roles.missed(e, time.Now())
	e.Nudge()
	wants(t, writes, "b")
	for !strings.HasPrefix(db.Backends()[0].Barred, "fenced") {
		runtime.Gosched()
	}
}

// TestProbeTurnedAway holds that a server that does not serve the probe keeps
// its role and its connections, and that this is told.
func TestProbeTurnedAway(t *testing.T) {
	var log testkit.Log
	c := newCluster(t, primary, replica)
	db := c.pool(t, Options{Logger: log.Logger()})
	writes, reads := db.Only("writes", Primary), db.Only("reads", Replicas(time.Second))
	wants(t, writes, "a")
	wants(t, reads, "b")
	var conns []net.Conn
	for _, p := range []*Excerpt{writes, reads} {
		conn, err := p.DialContext(context.Background(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := readFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	for _, name := range []string{"a", "b"} {
		c.refuse(name, fmt.Errorf("probe: %w: Error 1045: Access denied", health.ErrTurnedAway))
		log.Wants(t, "level=ERROR", "backend is degraded", "backend="+name, "does not serve the probe", "1045")
	}
	for _, s := range db.Backends() {
		if s.State != health.Degraded || s.Barred != "" {
			t.Errorf("%s is %v, %q", s.Name, s.State, s.Barred)
		}
	}
	for i, conn := range conns {
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := readFull(conn, make([]byte, 1)); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	wants(t, writes, "a")
	wants(t, reads, "b")

	// What is seen of the server itself still counts.
	c.refuse("a", nil)
	c.die("a")
	if err := readFull(conns[0], make([]byte, 1)); !errors.Is(err, ErrMoved) {
		t.Errorf("the connection to a dead primary: %v", err)
	}
	wants(t, writes, "")
	c.say("b", primary)
	c.refuse("b", nil)
	wants(t, writes, "b")
}

// TestRestartUnseats has a primary restart so fast that nobody sees it away.
func TestRestartUnseats(t *testing.T) {
	born := time.Now().Add(-time.Hour)
	a, b := primary, replica
	a.Started, b.Started = born, born
	c := newCluster(t, a, b)
	db := c.pool(t, Options{})
	writes := db.Only("writes", Primary)
	wants(t, writes, "a")
	c.mu.Lock()
	a.Started = time.Now().Add(-time.Minute)
	b.Role = health.RolePrimary
	c.says["a"], c.says["b"] = a, b
	c.mu.Unlock()
	for db.Backends()[0].Barred == "" && db.Backends()[1].Barred == "" {
		runtime.Gosched()
	}
	wants(t, writes, "b")
}

func TestMaxLag(t *testing.T) {
	slow := replica
	slow.Lag = 6 * time.Second
	c := newCluster(t, primary, slow)
	db := c.pool(t, Options{})
	reads, strict := db.Only("reads", Replicas(5*time.Second), Primary), db.Only("strict", Replicas(5*time.Second))
	wants(t, reads, "a")
	wants(t, strict, "")
	slow.Lag = 5 * time.Second
	c.say("b", slow)
	wants(t, strict, "b")
	wants(t, reads, "b")
	if s := db.Backends()[1]; s.Lag != 5*time.Second || s.Role != health.RoleReplica || s.Primary {
		t.Errorf("got %+v", s)
	}
}

// TestLagIsAPreference holds that a replica that falls behind gets nothing new,
// and keeps what it has.
func TestLagIsAPreference(t *testing.T) {
	slow := replica
	slow.Lag = 6 * time.Second
	c := newCluster(t, primary, replica)
	db := c.pool(t, Options{})
	reads, strict := db.Only("reads", Replicas(5*time.Second), Primary), db.Only("strict", Replicas(5*time.Second))
	wants(t, reads, "b")
	var conns []net.Conn
	for _, p := range []*Excerpt{reads, strict} {
		conn, err := p.DialContext(context.Background(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := readFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	for _, lag := range []time.Duration{6 * time.Second, math.MaxInt64} {
		slow.Lag = lag
		c.say("b", slow)
		wants(t, reads, "a")
		wants(t, strict, "")
		for db.Backends()[1].Lag != lag {
			runtime.Gosched()
		}
		if err := dialErr(strict); err == nil || !strings.Contains(err.Error(), "b is a replica, ") || !strings.Contains(err.Error(), "behind") {
			t.Errorf("without a replica: %v", err)
		}
		for i, conn := range conns {
			if _, err := conn.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if err := readFull(conn, make([]byte, 1)); err != nil {
				t.Errorf("%v behind, connection %d: %v", lag, i, err)
			}
		}
	}
	c.say("b", replica)
	wants(t, reads, "b")
	c.say("b", primary) // another role is no preference
	for i, conn := range conns {
		if err := readFull(conn, make([]byte, 1)); !errors.Is(err, ErrMoved) {
			t.Errorf("fenced, connection %d: %v", i, err)
		}
	}
}

func TestGaleraHasOneWriter(t *testing.T) {
	peer := health.Result{State: health.Up, Role: health.RolePeer}
	c := newCluster(t, peer, peer, peer)
	db := c.pool(t, Options{Policy: RoundRobin()})
	writes, reads := db.Only("writes", Primary), db.Only("reads", Replicas(0), Primary)
	wants(t, writes, "a")
	wants(t, reads, "b")
	wants(t, reads, "c")
	c.die("a")
	wants(t, writes, "b")
	c.say("a", peer)
	wants(t, reads, "a")
	if got := who(writes); got != "b" {
		t.Errorf("the writer went back to %q", got)
	}
	for _, s := range db.Backends() {
		if s.Barred != "" {
			t.Errorf("%s: %s", s.Name, s.Barred)
		}
	}
}

// TestLoneDonorServes has a Galera cluster of which only a donor is left.
func TestLoneDonorServes(t *testing.T) {
	var log testkit.Log
	peer := health.Result{State: health.Up, Role: health.RolePeer}
	donor := health.Result{State: health.Up, Role: health.RolePeer, LastResort: true, Note: "Donor"}
	c := newCluster(t, peer, peer, donor)
	db := c.pool(t, Options{Logger: log.Logger()})
	writes, reads := db.Only("writes", Primary), db.Only("reads", Replicas(0), Primary)
	wants(t, writes, "a")
	wants(t, reads, "b")
	for range 20 {
		if got := who(reads); got != "b" {
			t.Fatalf("a reader got %q beside one that is synced", got)
		}
	}
	c.say("a", donor)
	wants(t, writes, "b")
	c.die("a")
	c.die("b")
	wants(t, writes, "c")
	wants(t, reads, "c")
	if !writes.Healthy() {
		t.Error("the pool that serves is not healthy")
	}
	log.Wants(t, "level=WARN", "backend is degraded", "backend=c", "asks to be used last: Donor")
	c.say("b", peer)
	wants(t, writes, "b")
}

func TestTwoPrimariesAfterAStart(t *testing.T) {
	var log testkit.Log
	c := newCluster(t, primary, primary)
	file := filepath.Join(t.TempDir(), "primary")
	db := c.pool(t, Options{Logger: log.Logger(), Memory: file})
	writes := db.Only("writes", Primary)
	log.Wants(t, "level=ERROR", "none is used, because several claim to be primary: a, b")
	wants(t, writes, "")
	if err := db.SetPrimary("c"); !errors.Is(err, ErrUnknown) {
		t.Errorf("SetPrimary of nobody: %v", err)
	}
	if err := writes.Act(context.Background(), "b", "primary", ""); err != nil {
		t.Fatal(err)
	}
	wants(t, writes, "b")
	db.Close()

	// The next process remembers.
	again := c.pool(t, Options{Memory: file})
	wants(t, again.Only("writes", Primary), "b")
	again.Close()
	// Even that one is fenced that is left.
	c.die("b")
	third := c.pool(t, Options{Memory: file, Logger: log.Logger()})
	view := third.Only("writes", Primary)
	for third.Backends()[1].State != health.Down {
		runtime.Gosched()
	}
	wants(t, view, "")
	c.say("a", replica)
	for third.Backends()[0].Role != health.RoleReplica {
		runtime.Gosched()
	}
	if err := third.SetPrimary("a"); err == nil {
		t.Error("a replica was made primary")
	}
}

// TestProbeThatLies has a probe that tells nonsense, or tells each time
// something else: it costs connections, and never gives two primaries.
func TestProbeThatLies(t *testing.T) {
	var log testkit.Log
	c := newCluster(t, primary, replica)
	db := c.pool(t, Options{Logger: log.Logger()})
	writes := db.Only("writes", Primary)
	wants(t, writes, "a")
	c.say("a", health.Result{State: health.Up, Role: "king"})
	wants(t, writes, "")
	log.Wants(t, "level=ERROR", "role that there is not", "role=king")
	for i := range 50 {
		r := primary
		r.Epoch = uint64(i % 3)
		c.say("a", r)
		c.say("b", r)
		conn, err := writes.DialContext(context.Background(), "", "")
		if err != nil {
			continue
		}
		// Whomever it reached is made nobody, which cuts it.
		c.say("a", health.Result{State: health.Up, Role: "king"})
		c.say("b", health.Result{State: health.Up, Role: "king"})
		if _, err := io.ReadAll(conn); err == nil {
			t.Error("not cut")
		}
		conn.Close()
	}
	c.say("a", replica)
	c.say("b", replica)
	for _, i := range []int{0, 1} {
		for db.Backends()[i].Role != health.RoleReplica {
			runtime.Gosched()
		}
	}
	five := primary
	five.Epoch = 5
	c.say("a", five)
	wants(t, writes, "a")
	c.say("a", primary) // with an epoch that is over
	wants(t, writes, "")
	nine := primary
	nine.Epoch = 9
	c.say("a", nine)
	wants(t, writes, "a")
}

func TestOnlyIsOfTheWhole(t *testing.T) {
	c := newCluster(t, primary, replica)
	db := c.pool(t, Options{})
	writes := db.Only("writes", Primary)
	wants(t, writes, "a")
	if err := writes.WaitReady(context.Background()); err != nil {
		t.Error(err)
	}
	if got := writes.Backends(); len(got) != 1 || got[0].Name != "a" || got[0].Conns == 0 {
		t.Errorf("got %+v", got)
	}
	if none := writes.Only("none", Replicas(time.Hour)); who(none) != "" {
		t.Error("an excerpt of an excerpt is more than it")
	}
	if err := writes.SetMode("a", Maintenance); err != nil {
		t.Fatal(err)
	}
	wants(t, writes, "")
	if got := db.Backends()[0].Mode; got != Maintenance {
		t.Errorf("in the whole it is %v", got)
	}
	writes.Close()
	if err := dialErr(writes); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if got := who(db.Only("reads", Replicas(time.Hour))); got != "b" {
		t.Errorf("the whole does not go on: %q", got)
	}
}

// TestFenceCuts holds that a backend that is fenced loses the connections that
// it has, also in a pool that is not divided by role.
func TestFenceCuts(t *testing.T) {
	c := newCluster(t, primary, replica)
	db := c.pool(t, Options{Policy: RoundRobin()})
	wants(t, db.Only("writes", Primary), "a")
	var conn net.Conn
	for name := ""; name != "b"; {
		var err error
		if conn, err = db.DialContext(context.Background(), "", ""); err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		b := make([]byte, 1)
		if err := readFull(conn, b); err != nil {
			t.Fatal(err)
		}
		name = string(b)
	}
	c.say("b", primary)
	if err := readFull(conn, make([]byte, 1)); !errors.Is(err, ErrMoved) || !strings.Contains(err.Error(), "fenced") {
		t.Errorf("got %v", err)
	}
	wants(t, db, "a")
}
