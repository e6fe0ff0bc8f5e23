//go:build e2e

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// The units in the documentation are what systemd takes, and the gateway takes the
// sockets as systemd's own tool passes them on.
func TestE2EUnits(t *testing.T) {
	analyze, activate := servertest.Require(t, "systemd-analyze"), servertest.Require(t, "systemd-socket-activate")
	bin, dir := buildGateway(t), t.TempDir()
	page, err := os.ReadFile("../../docs/running.md")
	if err != nil {
		t.Fatal(err)
	}
	units := []string{"verify"}
	for _, m := range regexp.MustCompile("(?s)```ini\n# /etc/systemd/system/(\\S+)\n(.*?)```").FindAllSubmatch(page, -1) {
		path := filepath.Join(dir, string(m[1]))
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(m[2]), "/usr/local/bin/gateway", bin)), 0o600); err != nil {
			t.Fatal(err)
		}
		units = append(units, path)
	}
	if len(units) != 3 {
		t.Fatalf("the page has %v", units)
	}
	if out, err := exec.Command(analyze, units...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}

	backend, _ := pagedShop(t, nil)
	public, status := fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
	l := startLineage(t, nil, activate, "-l", public, "-l", status, bin, "-listen", testkit.Nobody(t), "-status", testkit.Nobody(t), "-backends", backend)
	l.says(1, "Listening on "+status)
	if code, body, err := get(t, "http://"+public+"/1"); code != 200 || body != "page /1" || err != nil {
		t.Errorf("got %d %q, %v", code, body, err)
	}
	if code, _, err := get(t, "http://"+status+"/readyz"); code != 200 || err != nil {
		t.Errorf("/readyz: %d, %v", code, err)
	}
	l.says(1, "msg=serving", "addr="+public+" ")
}
