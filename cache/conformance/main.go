// Conformance runs the HTTP cache tests (https://cache-tests.fyi, the npm
// package http-cache-tests) through examples/gateway and holds the result
// against cache/CONFORMANCE.md:
//
//	go run ./cache/conformance          fails if a test that passed fails
//	go run ./cache/conformance -write   writes the scorecard anew
//
// It is run from the module's root and needs node and npm. The suite's origin
// is kept to loopback.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	version   = "0.4.5"
	scorecard = "cache/CONFORMANCE.md"
)

//go:embed loopback.mjs
var loopback []byte

//go:embed tests.mjs
var tests []byte

func main() {
	dir := flag.String("dir", filepath.Join(os.TempDir(), "http-cache-tests-"+version), "where the suite is, or is installed")
	write := flag.Bool("write", false, "write the scorecard")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := run(ctx, *dir, *write); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, write bool) error {
	suite, err := install(ctx, dir)
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "conformance")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := os.WriteFile(filepath.Join(temp, "loopback.mjs"), loopback, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(temp, "tests.mjs"), tests, 0o600); err != nil {
		return err
	}
	var all []test
	out, err := output(command(ctx, suite, nil, "node", filepath.Join(temp, "tests.mjs"), suite))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, &all); err != nil {
		return fmt.Errorf("the list of tests: %w", err)
	}
	results, err := judge(ctx, suite, temp)
	if err != nil {
		return err
	}
	card := score(all, results)
	fmt.Print(card.summary())
	if missing := card.unexplained(); len(missing) > 0 {
		return fmt.Errorf("failed, and reasons.go gives no reason: %s", strings.Join(missing, ", "))
	}
	if write {
		return os.WriteFile(scorecard, []byte(card.markdown()), 0o644)
	}
	known, err := os.ReadFile(scorecard)
	if err != nil {
		return err
	}
	if worse := card.worse(string(known)); len(worse) > 0 {
		return fmt.Errorf("worse than %s: %s", scorecard, strings.Join(worse, ", "))
	}
	return nil
}

// install brings the suite into dir, unless it is there.
func install(ctx context.Context, dir string) (suite string, err error) {
	suite = filepath.Join(dir, "node_modules", "http-cache-tests")
	if _, err := os.Stat(filepath.Join(suite, "cli.mjs")); err == nil {
		return suite, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	_, err = output(command(ctx, dir, nil, "npm", "install", "--prefix", dir, "--no-audit", "--no-fund", "http-cache-tests@"+version))
	return suite, err
}

// judge runs origin, gateway and client, and returns what came of each test:
// true, or the kind of failure and its message.
func judge(ctx context.Context, suite, temp string) (map[string]any, error) {
	gateway := filepath.Join(temp, "gateway")
	if _, err := output(command(ctx, "", nil, "go", "build", "-o", gateway, "./examples/gateway")); err != nil {
		return nil, err
	}
	origin, front := freePort(), freePort()
	// The suite reads what npm would set.
	env := []string{
		"npm_config_protocol=http", "npm_package_config_id=",
		fmt.Sprint("npm_config_port=", origin),
		fmt.Sprint("npm_config_base=http://127.0.0.1:", front),
		"npm_config_pidfile=" + filepath.Join(temp, "pid"),
	}
	node := []string{"--no-warnings", "--import", filepath.Join(temp, "loopback.mjs")}
	stopOrigin, err := start(command(ctx, suite, env, "node", append(node, "server/server.mjs")...), origin)
	if err != nil {
		return nil, err
	}
	defer stopOrigin()
	stopGateway, err := start(command(ctx, "", nil, gateway,
		"-listen", fmt.Sprint("127.0.0.1:", front), "-backends", fmt.Sprint("http://127.0.0.1:", origin),
		"-probe", "", "-log", "off",
		"-purge-from", "127.0.0.1"), front) // the suite tests what a client orders, which is obeyed for those who may purge
	if err != nil {
		return nil, err
	}
	defer stopGateway()
	out, err := output(command(ctx, suite, env, "node", "--no-warnings", "cli.mjs"))
	if err != nil {
		return nil, err
	}
	var results map[string]any
	if err := json.Unmarshal(out, &results); err != nil {
		return nil, fmt.Errorf("the results: %w", err)
	}
	return results, nil
}

func command(ctx context.Context, dir string, env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// output runs a command and returns what it prints; its errors show in ours.
func output(cmd *exec.Cmd) ([]byte, error) {
	out, err := cmd.Output()
	if err == nil {
		return out, nil
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w\n%s", err, exit.Stderr)
	}
	return nil, fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
}

// start runs a server until stop is called, once it listens.
func start(cmd *exec.Cmd, port int) (stop func(), err error) {
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill() // there is nothing to drain
		_ = cmd.Wait()
	}
	for range 200 {
		conn, dialErr := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		if dialErr == nil {
			return stop, conn.Close()
		}
		err = dialErr
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	return nil, fmt.Errorf("%s does not listen: %w\n%s", cmd.Path, err, &said)
}

func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // no loopback, no test
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// A test is one of the suite's.
type test struct {
	Suite, ID, Name, Kind string
	Depends               []string
}

// A card is the result of a run.
type card struct {
	passed, of map[string]int // by kind
	misses     []miss         // of required and optimal tests
}

type miss struct {
	test
	said string // by the suite
}

// score counts. A test whose dependency fails has failed, as on the suite's
// own page.
func score(all []test, results map[string]any) card {
	byID := make(map[string]test)
	for _, t := range all {
		byID[t.ID] = t
	}
	var pass func(id string) bool
	pass = func(id string) bool {
		return results[id] == true && !slices.ContainsFunc(byID[id].Depends, func(d string) bool { return !pass(d) })
	}
	c := card{passed: map[string]int{}, of: map[string]int{}}
	for _, t := range all {
		c.of[t.Kind]++
		switch {
		case pass(t.ID):
			c.passed[t.Kind]++
		case t.Kind == "check":
		default:
			said := "depends on one that failed"
			if why, ok := results[t.ID].([]any); ok && len(why) == 2 {
				said = fmt.Sprint(why[1])
			}
			c.misses = append(c.misses, miss{t, said})
		}
	}
	return c
}

func (c card) summary() string {
	return fmt.Sprintf("required %d of %d, optimal %d of %d\n",
		c.passed["required"], c.of["required"], c.passed["optimal"], c.of["optimal"])
}

func (c card) unexplained() []string {
	var out []string
	for _, m := range c.misses {
		if reason(m.ID) == "" {
			out = append(out, fmt.Sprintf("%s (%s)", m.ID, m.said))
		}
	}
	return out
}

// worse returns the misses that the known scorecard does not list.
func (c card) worse(known string) []string {
	var out []string
	for _, m := range c.misses {
		if !strings.Contains(known, "`"+m.ID+"`") {
			out = append(out, fmt.Sprintf("%s (%s)", m.ID, m.said))
		}
	}
	return out
}

func (c card) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Conformance

The [HTTP cache tests](https://cache-tests.fyi), npm package http-cache-tests
%s, through examples/gateway: `+"`make conformance`"+`. This page is written by
`+"`go run ./cache/conformance -write`"+`; without `+"`-write`"+` the command fails when a
test fails that is not listed below.

The gateway runs with `+"`-purge-from 127.0.0.1`"+`, so that the suite's requests may
order by Cache-Control and Pragma. Those of visitors are ignored by default, which
the suite would count against it.

| | required | optimal |
|---|---|---|
| **Foretier** | **%d of %d** | **%d of %d** |
| Traffic Server | 126 | 65 |
| Squid | 122 | 49 |
| Apache httpd | 120 | 59 |
| Varnish | 108 | 40 |
| nginx | 94 | 50 |

## What fails, and why

| test | kind | reason |
|---|---|---|
`, version, c.passed["required"], c.of["required"], c.passed["optimal"], c.of["optimal"])
	for _, m := range c.misses {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", m.ID, m.Kind, reason(m.ID))
	}
	return b.String()
}
