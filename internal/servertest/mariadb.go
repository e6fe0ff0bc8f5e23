package servertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// MariaDB starts a MariaDB from an empty data directory, with a binary log and
// GTIDs. Everybody may be its user "admin", without a password, who may do
// everything. args are added to its command line.
func MariaDB(tb testing.TB, serverID int, args ...string) *Server {
	tb.Helper()
	Require(tb, "mariadbd")
	install := Require(tb, "mariadb-install-db")
	// Not tb.TempDir: its paths are too long for a socket.
	dir, err := os.MkdirTemp("", "mariadb-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	data := filepath.Join(dir, "data")
	common := []string{"--no-defaults", "--datadir=" + data}
	if os.Getuid() == 0 {
		common = append(common, "--user=root")
	}
	out, err := exec.Command(install, append(common, "--skip-test-db", "--auth-root-authentication-method=normal", "--skip-name-resolve")...).CombinedOutput()
	if err != nil {
		tb.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	init := filepath.Join(dir, "init.sql")
	// Not logged, or it would be a write of this server's own.
	err = os.WriteFile(init, []byte("SET sql_log_bin=0;\nCREATE USER IF NOT EXISTS admin@'%';\nGRANT ALL ON *.* TO admin@'%' WITH GRANT OPTION;\n"), 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	port := FreePort(tb)
	argv := append([]string{"mariadbd"}, common...)
	argv = append(argv, "--bind-address=127.0.0.1", "--port="+strconv.Itoa(port), "--socket="+filepath.Join(dir, "socket"),
		"--pid-file="+filepath.Join(dir, "pid"), "--init-file="+init, "--skip-name-resolve",
		"--server-id="+strconv.Itoa(serverID), "--log-bin=log", "--log-slave-updates",
		"--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M")
	return Start(tb, port, append(argv, args...)...)
}
