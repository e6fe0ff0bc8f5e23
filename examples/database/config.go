package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/foretier/foretier/balancer/tcp"
)

// A config is what the flags say, checked: nothing listens before it is whole.
type config struct {
	kind           string
	listen         string
	replicasListen string // empty: reads go to the primary too
	backends       []string
	user, password string // of the probe
	memory         string
	maxLag         time.Duration
	maxConns       int
	announce       tcp.ProxyProtocol
	proxyFrom      []netip.Prefix // who may send a PROXY header, and must
	certificate    []tls.Certificate
	authorities    *x509.CertPool
	serveTLS       bool
	status         string
	steer          string   // a socket's path
	statusHosts    []string // further names of the status page
	linger         time.Duration
}

// A kind is a protocol that the program knows something of.
type kind struct {
	listen string // where it listens unless told otherwise
	roles  bool   // its servers have them
}

var kinds = map[string]kind{
	"mysql":  {"127.0.0.1:3306", true}, // MariaDB too
	"galera": {"127.0.0.1:3306", true},
	"redis":  {"127.0.0.1:6379", true}, // Valkey too
	"tcp":    {"", false},
}

// flags are what was given, and the configuration that is made of it.
type flags struct {
	c                                                     config
	backends, passwordFile, announce, from, cert, key, ca string
	err                                                   error // the first that check was told
}

// parse reads the flags. Its errors say what is wrong and what would be right;
// [flag.ErrHelp] means that help was asked for and printed to out.
func parse(args []string, out io.Writer) (config, error) {
	fs := flag.NewFlagSet("database", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f := new(flags)
	f.register(fs)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(out, "Usage: database -backends URL,URL [flags]")
			fs.SetOutput(out)
			fs.PrintDefaults()
		}
		return f.c, err
	}
	if fs.NArg() > 0 {
		return f.c, fmt.Errorf("%q is no flag: the program takes flags only", fs.Arg(0))
	}
	if err := f.require(); err != nil {
		return f.c, err
	}
	f.checkAddresses()
	f.checkKind()
	f.checkFigures()
	if f.err == nil {
		f.err = f.readFiles()
	}
	return f.c, f.err
}

func (f *flags) register(fs *flag.FlagSet) {
	fs.StringVar(&f.c.kind, "kind", "mysql", "what the servers speak: mysql (MariaDB too), galera, redis or tcp (anything, without roles)")
	fs.StringVar(&f.c.listen, "listen", "", "`HOST:PORT` for connections to the primary (empty: 127.0.0.1 and the kind's port)")
	fs.StringVar(&f.c.replicasListen, "replicas-listen", "", "`HOST:PORT` for connections that only read: to replicas, and to the primary while none is fit (empty: none)")
	fs.StringVar(&f.backends, "backends", "", "`URL,URL` of the servers, tcp:// or tls:// (required)")
	fs.StringVar(&f.c.user, "user", "", "`NAME` by which the servers are asked for their role; MariaDB wants REPLICA MONITOR for it, MySQL REPLICATION CLIENT")
	fs.StringVar(&f.passwordFile, "password-file", "", "`FILE` with that user's password")
	fs.StringVar(&f.c.memory, "memory", "", "`FILE` that remembers who is primary over restarts (empty: two primaries at a start mean none)")
	fs.DurationVar(&f.c.maxLag, "max-lag", 5*time.Second, "how far behind a replica may be to get new connections of -replicas-listen; those it has stay")
	fs.IntVar(&f.c.maxConns, "max-connections", 0, "`NUMBER` of connections at once on each listener, beyond which clients are refused (0: no limit)")
	fs.StringVar(&f.announce, "announce", "", "tell the servers each client's address by the PROXY protocol: v1 or v2 (empty: no)")
	fs.StringVar(&f.from, "proxy-from", "", "`CIDR,...` of balancers in front who begin each connection with a PROXY header (empty: nobody)")
	fs.BoolVar(&f.c.serveTLS, "tls", false, "take TLS from clients, with -cert and -key; with -ca only from those who show a certificate")
	fs.StringVar(&f.cert, "cert", "", "`FILE` with this side's certificate chain in PEM, shown to clients (-tls) and to tls:// servers")
	fs.StringVar(&f.key, "key", "", "`FILE` with the certificate's key in PEM")
	fs.StringVar(&f.ca, "ca", "", "`FILE` with the authorities in PEM that must have signed the other side's certificate (empty for tls:// servers: the system's)")
	fs.StringVar(&f.c.status, "status", "", "`HOST:PORT` for /healthz, /readyz, /status.json and /metrics (empty: none)")
	fs.StringVar(&f.c.steer, "steer", "", "`PATH` of a socket of this machine with the same page, over which the user that the program runs as may steer: make a server primary, drain it (empty: none; nobody may)")
	fs.Func("status-hosts", "`NAMES` under which /status.json and /metrics are asked for, such as db1.internal (localhost, the host's name and its addresses always are)", func(s string) error {
		f.c.statusHosts = list(s)
		return nil
	})
	fs.DurationVar(&f.c.linger, "linger", 0, "for how long connections are still accepted after SIGTERM, while /readyz says no, so that balancers in front notice (0: none)")
}

// require says what is missing without which nothing can be said of the rest.
func (f *flags) require() error {
	c := &f.c
	k, ok := kinds[c.kind]
	c.backends, c.listen = list(f.backends), cmp.Or(c.listen, k.listen)
	switch {
	case !ok:
		return fmt.Errorf("-kind %q: want mysql, galera, redis or tcp", c.kind)
	case len(c.backends) == 0:
		return errors.New("-backends is missing: want the servers, such as -backends tcp://10.0.0.31:3306,tcp://10.0.0.32:3306")
	case c.listen == "":
		return errors.New("-listen is missing: -kind tcp has no port of its own, want one such as -listen 127.0.0.1:5432")
	}
	return nil
}

// check takes what is wrong with a flag's value, or nil.
func (f *flags) check(name, value string, err error) {
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("-%s %q: %w", name, shown(value), err)
	}
}

// shown is a flag's value as an error shows it: without a user and password.
func shown(value string) string {
	if at := strings.LastIndexByte(value, '@'); at > 0 {
		return "..." + value[at:]
	}
	return value
}

func (f *flags) checkAddresses() {
	c := &f.c
	for _, b := range c.backends {
		f.check("backends", b, checkBackend(b))
	}
	for _, a := range []struct{ name, addr string }{{"listen", c.listen}, {"replicas-listen", c.replicasListen}, {"status", c.status}} {
		if a.addr != "" {
			f.check(a.name, a.addr, checkAddress(a.addr))
		}
	}
	for _, h := range c.statusHosts {
		if strings.ContainsAny(h, "/*") || checkAddress(h) == nil {
			f.check("status-hosts", h, errors.New("want a name or an address without scheme and port, such as db1.internal"))
		}
	}
}

func (f *flags) checkKind() {
	c := &f.c
	if !kinds[c.kind].roles {
		for _, o := range []struct{ name, value string }{{"replicas-listen", c.replicasListen}, {"user", c.user}, {"password-file", f.passwordFile}, {"memory", c.memory}} {
			if o.value != "" {
				f.check(o.name, o.value, errors.New("-kind tcp knows no roles: want mysql, galera or redis for it"))
			}
		}
	}
	if (c.kind == "mysql" || c.kind == "galera") && c.user == "" && f.err == nil {
		f.err = errors.New("-user is missing: want the name by which the servers are asked for their role, such as -user probe -password-file FILE")
	}
}

func (f *flags) checkFigures() {
	c := &f.c
	if c.maxLag < 0 {
		f.check("max-lag", c.maxLag.String(), errors.New("want 0 or more, such as 5s"))
	}
	if c.linger < 0 {
		f.check("linger", c.linger.String(), errors.New("want 0 or more, such as 10s"))
	}
	if c.maxConns < 0 {
		f.check("max-connections", strconv.Itoa(c.maxConns), errors.New("want 0 or more"))
	}
	var err error
	c.announce, err = parseAnnounce(f.announce)
	f.check("announce", f.announce, err)
	c.proxyFrom, err = prefixes(f.from)
	f.check("proxy-from", f.from, err)
	if c.memory != "" {
		f.check("memory", c.memory, checkFolder(c.memory))
	}
}

func (f *flags) readFiles() error {
	c := &f.c
	if f.passwordFile != "" {
		b, err := os.ReadFile(f.passwordFile)
		if err != nil {
			return fmt.Errorf("-password-file: %w: want a readable file that holds the password", err)
		}
		if c.password = strings.TrimRight(string(b), "\r\n"); c.password == "" {
			return fmt.Errorf("-password-file %q is empty: want the password in it, or no such flag", f.passwordFile)
		}
	}
	secure := slices.ContainsFunc(c.backends, func(b string) bool { return strings.HasPrefix(b, "tls://") })
	return c.readTLS(f.cert, f.key, f.ca, secure)
}

// readTLS reads the certificate files.
func (c *config) readTLS(cert, key, ca string, secure bool) error {
	switch {
	case (cert == "") != (key == ""):
		return errors.New("-cert and -key go together: want both, or neither")
	case c.serveTLS && cert == "":
		return errors.New("-tls needs -cert and -key: want the certificate to show to clients")
	case !c.serveTLS && !secure && cert+ca != "":
		return errors.New("-cert, -key and -ca: nobody would see them, want -tls or tls:// in -backends")
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("-cert, -key: %w: want a certificate chain and its key in PEM", err)
		}
		c.certificate = []tls.Certificate{pair}
	}
	if ca != "" {
		b, err := os.ReadFile(ca)
		if err != nil {
			return fmt.Errorf("-ca: %w: want a readable file", err)
		}
		c.authorities = x509.NewCertPool()
		if !c.authorities.AppendCertsFromPEM(b) {
			return fmt.Errorf("-ca %q: want certificates in PEM", ca)
		}
	}
	return nil
}

func list(s string) []string {
	var out []string
	for member := range strings.SplitSeq(s, ",") {
		if member = strings.TrimSpace(member); member != "" {
			out = append(out, member)
		}
	}
	return out
}

func checkBackend(s string) error {
	if !strings.Contains(s, "://") {
		return fmt.Errorf("the scheme is missing: want tcp:// or tls://, a host and a port, such as tcp://%s", shown(s))
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "tcp" && u.Scheme != "tls" || u.Hostname() == "" || u.Port() == "" ||
		u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return errors.New("want tcp:// or tls://, a host and a port, such as tcp://10.0.0.31:3306")
	}
	return checkPort(u.Port())
}

func checkAddress(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New("want HOST:PORT, such as 127.0.0.1:3306 or :3306")
	}
	return checkPort(port)
}

func checkPort(s string) error {
	if n, err := strconv.Atoi(s); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("port %q: want a number from 1 to 65535", s)
	}
	return nil
}

func checkFolder(file string) error {
	dir := filepath.Dir(file)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("%q is no folder: want a file in one that this program may write to", dir)
	}
	return nil
}

func parseAnnounce(s string) (tcp.ProxyProtocol, error) {
	switch s {
	case "":
		return 0, nil
	case "v1":
		return tcp.ProxyV1, nil
	case "v2":
		return tcp.ProxyV2, nil
	}
	return 0, errors.New("want v1 or v2")
}

func prefixes(s string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, member := range list(s) {
		if addr, err := netip.ParseAddr(member); err == nil {
			out = append(out, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(member)
		if err != nil {
			return nil, fmt.Errorf("%q is no network: want one such as 10.0.0.0/8 or 127.0.0.1", member)
		}
		if p.Addr().Is4In6() { // addresses are compared as IPv4
			if p.Bits() < 96 {
				return nil, fmt.Errorf("%q is neither a network of IPv4 nor one of IPv6: want one such as 10.0.0.0/8", member)
			}
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if p != p.Masked() {
			return nil, fmt.Errorf("%q has bits beyond its length: want %s", member, p.Masked())
		}
		out = append(out, p)
	}
	return out, nil
}
