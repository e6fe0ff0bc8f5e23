package servertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// An FPM is a running php-fpm with two pools of children: one at Addr, one at Socket.
type FPM struct {
	*Server
	Socket string // path of a socket of this machine
}

// PHPFPM starts php-fpm with that many children at each place, whose ping.path is /ping.
// It runs as whoever runs the test. settings are lines of each pool's configuration, such
// as "php_admin_value[memory_limit] = 64M".
func PHPFPM(tb testing.TB, children int, settings ...string) FPM {
	tb.Helper()
	program := "php-fpm"
	if found, _ := filepath.Glob("/usr/sbin/php-fpm[0-9]*"); len(found) > 0 { // as Debian names it
		program = filepath.Base(found[len(found)-1])
	}
	dir, err := os.MkdirTemp("", "fpm") // a test's own is too long for a socket
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	port := FreePort(tb)
	f := FPM{Socket: filepath.Join(dir, "php.sock")}
	conf := "[global]\nerror_log = /proc/self/fd/2\ndaemonize = no\n"
	for name, listen := range map[string]string{"www": "127.0.0.1:" + strconv.Itoa(port), "socket": f.Socket} {
		conf += fmt.Sprintf("[%s]\nlisten = %s\nlisten.backlog = 64\npm = static\npm.max_children = %d\nping.path = /ping\n", name, listen, children)
		if os.Getuid() == 0 {
			conf += "user = root\ngroup = root\n"
		}
		conf += strings.Join(settings, "\n") + "\n"
	}
	file := filepath.Join(dir, "fpm.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		tb.Fatal(err)
	}
	args := []string{program, "--nodaemonize", "--fpm-config", file}
	if os.Getuid() == 0 {
		args = append(args, "--allow-to-run-as-root")
	}
	f.Server = Start(tb, port, args...)
	return f
}
