//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log"
	"maps"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// caddyModule is built as it is; its releases are made so, too.
const caddyModule = "github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9"

// mostBackends is how many addresses the origin has.
const mostBackends = 1000

// locate finds the repository.
func (b *bench) locate() error {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	here := filepath.Dir(strings.TrimSpace(string(mod)))
	if b.root = filepath.Dir(filepath.Dir(here)); filepath.Base(here) != "bench" {
		return fmt.Errorf("%s is not this module's directory", here)
	}
	if err := os.Chdir(here); err != nil {
		return err
	}
	b.self, err = os.Executable()
	return err
}

// build makes the programs that Debian does not have, and starts the origin.
func (b *bench) build(ctx context.Context) error {
	for _, program := range []string{"taskset", "gcc", "nginx", "haproxy", "varnishd", "wrk", "h2load", "strace"} {
		if err := findProgram(program); err != nil {
			return err
		}
	}
	var err error
	if b.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return err
	}
	raise()
	if err := b.compile(ctx); err != nil {
		return err
	}
	if b.cert, b.key, err = certificate(); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	argv := []string{b.programs.loop, "origin", strconv.Itoa(port), strconv.Itoa(mostBackends)}
	if b.origin, err = start(ctx, b.loadCPU, b.dir, "127.0.0.1:"+strconv.Itoa(port), argv); err != nil {
		return err
	}
	b.machine = b.describe()
	return nil
}

// compile makes the programs.
func (b *bench) compile(ctx context.Context) error {
	at := func(name string) string { return filepath.Join(b.dir, name) }
	for _, file := range []string{"loop.c", "asked.go.txt", "spans.go.txt"} {
		text, err := conf.ReadFile("conf/" + file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(at(file), text, 0o600); err != nil {
			return err
		}
	}
	// The counting gateways are the same with a file more, the traced one with a hook.
	traced, err := b.hooked()
	if err != nil {
		return err
	}
	counts := map[string]string{
		filepath.Join(b.root, "examples/gateway/asked.go"):        at("asked.go.txt"),
		filepath.Join(b.root, "internal/bench/rules/counting.go"): at("asked.go.txt"),
	}
	both := maps.Clone(traced)
	maps.Copy(both, counts)
	for name, replace := range map[string]map[string]string{"counting": counts, "traced": traced, "counting-traced": both} {
		text, err := json.Marshal(map[string]map[string]string{"Replace": replace})
		if err != nil {
			return err
		}
		if err := os.WriteFile(at(name+".json"), text, 0o600); err != nil {
			return err
		}
	}
	b.programs = programs{loop: at("loop"), caddy: at("caddy"), gateway: at("gateway"), traced: at("traced-gateway"), rules: at("rules")}
	b.counting = programs{gateway: at("counting-gateway"), traced: at("counting-traced-gateway"), rules: at("counting-rules")}
	log.Print("building Caddy, the gateway and the loops")
	for _, c := range []struct {
		dir  string
		argv []string
	}{
		{b.dir, []string{"gcc", "-O2", "-Wall", "-o", b.programs.loop, at("loop.c")}},
		{b.dir, []string{"env", "GOBIN=" + b.dir, "go", "install", caddyModule}},
		{b.root, []string{"go", "build", "-o", b.programs.gateway, "./examples/gateway"}},
		{b.root, []string{"go", "build", "-overlay", at("counting.json"), "-o", b.counting.gateway, "./examples/gateway"}},
		{b.root, []string{"go", "build", "-overlay", at("traced.json"), "-o", b.programs.traced, "./examples/gateway"}},
		{b.root, []string{"go", "build", "-overlay", at("counting-traced.json"), "-o", b.counting.traced, "./examples/gateway"}},
		{".", []string{"go", "build", "-o", b.programs.rules, "./rules"}},
		{".", []string{"go", "build", "-overlay", at("counting.json"), "-o", b.counting.rules, "./rules"}},
	} {
		cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
		cmd.Dir = c.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(c.argv, " "), err, out)
		}
	}
	return nil
}

// hooked returns what is laid over the gateway so that each request is a span.
func (b *bench) hooked() (map[string]string, error) {
	const options = "edge.Tracing{"
	tier := filepath.Join(b.root, "examples/gateway/tier.go")
	text, err := os.ReadFile(tier)
	if err != nil {
		return nil, err
	}
	if strings.Count(string(text), options) != 1 {
		return nil, fmt.Errorf("%s: want one %s", tier, options)
	}
	over := filepath.Join(b.dir, "tier.go")
	if err := os.WriteFile(over, []byte(strings.Replace(string(text), options, options+"Spans: spans, ", 1)), 0o600); err != nil {
		return nil, err
	}
	return map[string]string{tier: over, filepath.Join(filepath.Dir(tier), "spans.go"): filepath.Join(b.dir, "spans.go.txt")}, nil
}

func (b *bench) close() {
	if b.php != nil {
		b.php.stop()
	}
	if b.origin != nil {
		b.origin.stop()
	}
	if b.dir != "" {
		_ = os.RemoveAll(b.dir)
	}
}

// findProgram looks where servers are, too, and has the path know it.
func findProgram(name string) error {
	if _, err := exec.LookPath(name); err == nil {
		return nil
	}
	if _, err := os.Stat("/usr/sbin/" + name); err != nil {
		return fmt.Errorf("%s is missing: make bench installs it", name)
	}
	return os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin")
}

// certificate makes one for the servers, with a key of P-256.
func certificate() (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
		DNSNames: []string{"shop.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// raise lets all that is started have many descriptors: 10,000 connections need
// them, and the gateway takes no more clients than half of what it has.
func raise() {
	const many = 65536
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return
	}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: many, Max: max(l.Max, many)}) != nil {
		l.Cur = l.Max // only root may have more
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
	}
}

// describe says where this is measured, and what.
func (b *bench) describe() Machine {
	first := func(argv ...string) string {
		out, _ := exec.Command(argv[0], argv[1:]...).CombinedOutput() // some say it on standard error
		line, _, _ := strings.Cut(string(out), "\n")
		return strings.TrimSpace(line)
	}
	m := Machine{
		Kernel: first("uname", "-sr"),
		Commit: first("git", "-C", b.root, "log", "-1", "--format=%h"),
	}
	if out, err := exec.Command("git", "-C", b.root, "status", "--porcelain", "--untracked-files=no").Output(); err == nil && len(out) > 0 {
		m.Commit += " and changes"
	}
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.SplitSeq(string(cpuinfo), "\n") {
		name, value, _ := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); name == "model name" && m.CPU == "" {
			m.CPU = strings.TrimSpace(value)
		} else if name == "processor" {
			m.CPUs++
		}
	}
	debian, _ := os.ReadFile("/etc/debian_version")
	m.Versions = []string{
		"Debian " + strings.TrimSpace(string(debian)),
		first("go", "version"),
		first("nginx", "-v"),
		first("haproxy", "-v"),
		first("varnishd", "-V"),
		caddyModule, // it does not know its version itself
		first("gcc", "--version"),
		first("wrk", "-v"),
		first("h2load", "--version"),
		first("strace", "-V"),
	}
	return m
}
