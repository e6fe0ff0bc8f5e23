package servertest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// PostgreSQL starts a PostgreSQL from an empty data directory. Everybody may be its
// superuser "admin", without a password. args are added to its command line.
func PostgreSQL(tb testing.TB, args ...string) *Server {
	tb.Helper()
	dir, err := os.MkdirTemp("", "postgresql-") // not tb.TempDir, which another user cannot reach
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	as := asNobody(tb, dir)
	data := filepath.Join(dir, "data")
	initdb := append(as, postgresql(tb, "initdb"), "--pgdata="+data, "--username=admin", "--auth=trust", "--no-sync", "--no-instructions")
	cmd := exec.Command(initdb[0], initdb[1:]...)
	cmd.Dir = dir // initdb goes back to where it was started, where nobody may not be
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("initdb: %v\n%s", err, out)
	}
	port := FreePort(tb)
	argv := append(as, postgresql(tb, "postgres"), "-D", data, "-p", strconv.Itoa(port), "-k", dir,
		"-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=16MB", "-c", "fsync=off")
	s := newServer(tb, port, append(argv, args...)...)
	// Its children are in no group of its own; it ends them at once, as a crash would.
	s.end = quit
	s.begin()
	_, at, _ := net.SplitHostPort(s.Addr)
	ready := postgresql(tb, "pg_isready")
	Until(tb, "PostgreSQL being ready", func(ctx context.Context) error { // it listens before
		return exec.CommandContext(ctx, ready, "-h", "127.0.0.1", "-p", at).Run()
	})
	return s
}

// asNobody returns the beginning of a command line that runs the rest as another user
// where this one is root, which PostgreSQL refuses to run as; dir is that user's then.
func asNobody(tb testing.TB, dir string) []string {
	tb.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		tb.Fatal(err)
	}
	uid, err := strconv.Atoi(nobody.Uid)
	if err != nil {
		tb.Fatal(err)
	}
	gid, err := strconv.Atoi(nobody.Gid)
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		tb.Fatal(err)
	}
	return slices.Clip([]string{Require(tb, "setpriv"), "--reuid=" + nobody.Uid, "--regid=" + nobody.Gid, "--clear-groups"})
}

// postgresql returns the path of one of PostgreSQL's programs, which Debian keeps by
// version and out of PATH.
func postgresql(tb testing.TB, program string) string {
	tb.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + program)
	if err != nil || len(found) == 0 {
		return Require(tb, program)
	}
	return found[len(found)-1]
}
