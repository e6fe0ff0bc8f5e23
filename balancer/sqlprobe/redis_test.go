package sqlprobe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

func TestRedis(t *testing.T) {
	first := servertest.Redis(t, "--requirepass", "secret", "--masterauth", "secret")
	_, port, err := net.SplitHostPort(first.Addr)
	if err != nil {
		t.Fatal(err)
	}
	second := servertest.Redis(t, "--requirepass", "secret", "--masterauth", "secret", "--replicaof", "127.0.0.1 "+port)
	p := &Redis{Password: "secret"}
	res := until(t, p, first, func(r health.Result, err error) bool { return err == nil })
	if res.Role != health.RolePrimary || res.State != health.Up || !strings.HasPrefix(res.Note, "primary at ") {
		t.Errorf("the primary: %+v", res)
	}
	if d := time.Since(res.Started); d < 0 || d > 10*time.Minute {
		t.Errorf("started %v ago", d)
	}
	until(t, p, second, func(r health.Result, err error) bool {
		return err == nil && r.Role == health.RoleReplica && r.Lag == 0
	})
	first.Kill()
	until(t, p, second, func(r health.Result, err error) bool {
		return err == nil && r.Role == health.RoleReplica && r.Lag >= time.Second
	})
	until(t, p, first, func(_ health.Result, err error) bool { return health.Unreachable(err) })
	for _, wrong := range []*Redis{{}, {Password: "wrong"}, {User: "nobody", Password: "secret"}} {
		res, err := wrong.Probe(context.Background(), target("tcp", second.Addr))
		if !errors.Is(err, health.ErrTurnedAway) || res.Role != "" || !strings.Contains(err.Error(), "AUTH") && !strings.Contains(err.Error(), "WRONGPASS") {
			t.Errorf("%+v: %+v, %v", wrong, res, err)
		}
	}
}

// TestRedisTurnsTheProbeAway has a Redis that is well and does not serve the
// probe: that says nothing of its role.
func TestRedisTurnsTheProbeAway(t *testing.T) {
	s := servertest.Redis(t)
	p := new(Redis)
	first := until(t, p, s, func(_ health.Result, err error) bool { return err == nil })
	if len(first.Instance) != 40 {
		t.Errorf("a process known by %q", first.Instance)
	}
	wants := func(p *Redis, words string) {
		t.Helper()
		if _, err := p.Probe(context.Background(), target("tcp", s.Addr)); !errors.Is(err, health.ErrTurnedAway) || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want that the probe is turned away: %s", err, words)
		}
	}
	admin, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	answers := bufio.NewReader(admin)
	do := func(args ...string) {
		t.Helper()
		if _, err := admin.Write(appendCommand(nil, args...)); err != nil {
			t.Fatal(err)
		}
		if got, err := readAnswer(answers, 0); err != nil || isError(got) {
			t.Fatalf("%v: %v, %v", args, got, err)
		}
	}
	do("CONFIG", "SET", "maxclients", "1")
	for range 20 { // whatever comes first, the refusal or that it has closed
		wants(p, "max number of clients")
	}
	do("CONFIG", "SET", "maxclients", "100")
	do("ACL", "SETUSER", "probe", "on", ">secret", "+ping")
	wants(&Redis{User: "probe", Password: "secret"}, "NOPERM")
	do("CONFIG", "SET", "busy-reply-threshold", "1")
	if _, err := admin.Write(appendCommand(nil, "EVAL", "while true do end", "0")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; {
		_, err := p.Probe(context.Background(), target("tcp", s.Addr))
		if errors.Is(err, health.ErrTurnedAway) && strings.Contains(err.Error(), "BUSY") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("a busy server: %v", err)
		}
	}
	killer, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer killer.Close()
	if _, err := killer.Write(appendCommand(nil, "SCRIPT", "KILL")); err != nil {
		t.Fatal(err)
	}
	if got, err := readAnswer(answers, 0); err != nil || !isError(got) {
		t.Fatalf("EVAL: %v, %v", got, err)
	}
	// A password where none is asked for keeps nobody from telling its role.
	res, err := (&Redis{User: "nobody", Password: "needless"}).Probe(context.Background(), target("tcp", s.Addr))
	if err != nil || res.Role != health.RolePrimary || !strings.Contains(res.Note, "AUTH: ") || res.Instance != first.Instance {
		t.Errorf("a password too many: %+v, %v", res, err)
	}
	do("CONFIG", "SET", "requirepass", "changed")
	wants(p, "NOAUTH")
	wants(&Redis{Password: "old"}, "WRONGPASS")
	s.Kill()
	s.Restart()
	if again := until(t, p, s, func(_ health.Result, err error) bool { return err == nil }); again.Instance == first.Instance {
		t.Error("another process is known by the same words")
	}
}

func TestRedisRole(t *testing.T) {
	now := time.Unix(1000, 0)
	cases := []struct {
		name string
		role any
		info string
		want health.Result
		err  bool
	}{
		{"master", []any{"master", int64(12), []any{}}, "uptime_in_seconds:100\r\n", health.Result{State: health.Up, Role: health.RolePrimary, Note: "primary at 12", Started: time.Unix(900, 0)}, false},
		{"slave", []any{"slave", "10.0.0.1", int64(6379), "connected", int64(5)}, "", health.Result{State: health.Up, Role: health.RoleReplica, Note: "replica"}, false},
		{"in other words", []any{"replica", "10.0.0.1", int64(6379), "connected", int64(5)}, "", health.Result{State: health.Up, Role: health.RoleReplica, Note: "replica"}, false},
		{"cut off", []any{"slave", "10.0.0.1", int64(6379), "connect", int64(5)}, "master_link_down_since_seconds:7\r\n",
			health.Result{State: health.Up, Role: health.RoleReplica, Note: "replica, connect", Lag: 7 * time.Second}, false},
		{"never connected", []any{"slave", "10.0.0.1", int64(6379), "sync", int64(-1)}, "master_link_down_since_seconds:-1\r\n",
			health.Result{State: health.Up, Role: health.RoleReplica, Note: "replica, sync", Lag: math.MaxInt64}, false},
		{"sentinel", []any{"sentinel", []any{"shop"}}, "", health.Result{State: health.Degraded, Note: "role sentinel: want master or slave"}, false},
		{"loading", redisError("LOADING Redis is loading"), "", health.Result{State: health.Degraded, Note: "LOADING Redis is loading"}, false},
		{"no array", "master", "", health.Result{}, true},
		{"empty", []any{}, "", health.Result{}, true},
		{"nothing", nil, "", health.Result{}, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := redisRole(now, now.Add(slow), c.role, c.info)
			if got != c.want || (err != nil) != c.err {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// TestRedisAnswersGarbage has servers that hang, hang up, or speak another
// language.
func TestRedisAnswersGarbage(t *testing.T) {
	for _, says := range []string{"", "HTTP/1.1 400 Bad Request\r\n\r\n", "*99999999\r\n", "$-5\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", strings.Repeat("x", 100000)} {
		addr := testkit.Backend(t, func(c net.Conn) {
			_, _ = io.WriteString(c, says)
			if says == "" {
				_, _ = io.Copy(io.Discard, c) // it hangs
			}
		})
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		if says != "" {
			cancel()
			ctx, cancel = context.WithTimeout(context.Background(), patience)
		}
		res, err := new(Redis).Probe(ctx, target("tcp", addr))
		cancel()
		if err == nil {
			t.Errorf("%.20q: %+v", says, res)
		}
	}
}

// FuzzAnswer holds that no answer brings the reader down, and that what was
// written is read.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{"+OK\r\n", "-ERR no\r\n", ":12\r\n", "$3\r\nabc\r\n", "$-1\r\n", "*2\r\n$1\r\na\r\n:1\r\n", "*-1\r\n", "*1\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := readAnswer(bufio.NewReader(strings.NewReader(string(b))), 0)
		if err != nil {
			return
		}
		if s := fmt.Sprint(v); len(s) > 64*len(b)+64 {
			t.Errorf("%d bytes from %d", len(s), len(b))
		}
		if s, ok := v.(string); ok && b[0] == '$' {
			again, err := readAnswer(bufio.NewReader(strings.NewReader(fmt.Sprintf("$%d\r\n%s\r\n", len(s), s))), 0)
			if again != v || err != nil {
				t.Errorf("%q became %q, %v", v, again, err)
			}
		}
	})
}

func TestStarted(t *testing.T) {
	asked := time.Unix(1e9, 0)
	if got := started(asked, asked.Add(slow), "60"); !got.Equal(asked.Add(-time.Minute)) {
		t.Errorf("got %v", got)
	}
	if got := started(asked, asked.Add(slow+1), "60"); !got.IsZero() {
		t.Errorf("of a slow answer: %v", got)
	}
	if got := started(asked, asked, ""); !got.IsZero() {
		t.Errorf("of none: %v", got)
	}
}
