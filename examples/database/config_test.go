package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/balancer/tcp"
)

// write puts content into a file of the test's own.
func write(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestWrongFlags(t *testing.T) {
	empty := write(t, "empty", "\n")
	const one = "-backends tcp://10.0.0.31:3306 "
	cases := []struct{ args, want string }{
		{"", "-backends is missing: want the servers, such as -backends tcp://10.0.0.31:3306"},
		{one, "-user is missing: want the name"},
		{one + "-kind oracle", `-kind "oracle": want mysql, galera, redis or tcp`},
		{one + "-kind tcp", "-listen is missing: -kind tcp has no port of its own"},
		{one + "-kind tcp -listen :1 -replicas-listen :2", `-replicas-listen ":2": -kind tcp knows no roles`},
		{one + "-kind tcp -listen :1 -memory x", `-memory "x": -kind tcp knows no roles`},
		{one + "-user probe more", `"more" is no flag`},
		{one + "-user probe -listen 3306", `-listen "3306": want HOST:PORT`},
		{one + "-user probe -listen :99999", `-listen ":99999": port "99999": want a number from 1 to 65535`},
		{one + "-user probe -status x", `-status "x": want HOST:PORT`},
		{"-user probe -backends 10.0.0.31:3306", "want tcp:// or tls://, a host and a port, such as tcp://10.0.0.31:3306"},
		{"-user probe -backends http://10.0.0.31:3306", "want tcp:// or tls://"},
		{"-user probe -backends tcp://10.0.0.31", "want tcp:// or tls://"},
		{"-user probe -backends tcp://10.0.0.31:3306/shop", "want tcp:// or tls://"},
		{one + "-user probe -password-file /nowhere", "-password-file: open /nowhere: no such file or directory: want a readable file"},
		{one + "-user probe -password-file " + empty, "is empty: want the password in it"},
		{one + "-user probe -max-lag -1s", `-max-lag "-1s": want 0 or more`},
		{one + "-user probe -status-hosts http://db1", `-status-hosts "http://db1": want a name or an address without scheme and port`},
		{one + "-user probe -linger -1s", `-linger "-1s": want 0 or more, such as 10s`},
		{one + "-user probe -max-connections -1", `-max-connections "-1": want 0 or more`},
		{one + "-user probe -announce v3", `-announce "v3": want v1 or v2`},
		{one + "-user probe -proxy-from localhost", `"localhost" is no network`},
		{one + "-user probe -proxy-from 10.0.0.1/8", "has bits beyond its length: want 10.0.0.0/8"},
		{one + "-user probe -memory /nowhere/primary", `"/nowhere" is no folder: want a file in one`},
		{one + "-user probe -tls", "-tls needs -cert and -key"},
		{one + "-user probe -cert x", "-cert and -key go together"},
		{one + "-user probe -ca " + empty, "nobody would see them, want -tls or tls://"},
		{one + "-user probe -tls -cert " + empty + " -key " + empty, "want a certificate chain and its key in PEM"},
		{"-user probe -backends tls://db:3306 -ca " + empty, "want certificates in PEM"},
		{one + "-nonsense", "not defined: -nonsense"},
	}
	for _, c := range cases {
		var out, err bytes.Buffer
		code := run(t.Context(), strings.Fields(c.args), &out, &err)
		if code != 2 || !strings.Contains(err.String(), c.want) || strings.Count(err.String(), "\n") != 1 {
			t.Errorf("%s: exit %d, %q: want exit 2 and a line with %q", c.args, code, err.String(), c.want)
		}
	}
}

func TestHelp(t *testing.T) {
	var out, err bytes.Buffer
	if code := run(t.Context(), []string{"-help"}, &out, &err); code != 0 || !strings.Contains(out.String(), "-replicas-listen HOST:PORT") {
		t.Errorf("exit %d, %q", code, out.String())
	}
}

func TestDefaults(t *testing.T) {
	for kind, listen := range map[string]string{"mysql": "127.0.0.1:3306", "galera": "127.0.0.1:3306", "redis": "127.0.0.1:6379"} {
		c, err := parse([]string{"-kind", kind, "-user", "probe", "-backends", "tcp://db:1"}, nil)
		if err != nil || c.listen != listen || c.maxLag != 5*time.Second || c.announce != tcp.ProxyProtocol(0) || c.maxConns != 0 {
			t.Errorf("%s: %+v, %v", kind, c, err)
		}
	}
	password := write(t, "password", "secret\n")
	c, err := parse([]string{"-user", "probe", "-password-file", password, "-backends", "tcp://db:1"}, nil)
	if err != nil || c.kind != "mysql" || c.password != "secret" {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestReadme holds that the lines for php.ini that the README shows are those
// that are tested.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	ini, err := os.ReadFile("php.ini")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```ini\n"+string(ini)+"```\n") {
		t.Error("the lines for php.ini differ from php.ini")
	}
}
