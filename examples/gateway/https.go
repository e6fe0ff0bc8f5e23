package main

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/router/edge/acme"
	"github.com/foretier/foretier/router/edge/acme/redisstorage"
)

// An acmeConfig says which certificates are issued, and by whom.
type acmeConfig struct {
	hosts            []string // none: no certificate is
	store            string   // a folder or the URL of a Redis
	email, directory string
	roots            *x509.CertPool // of the authority; nil: the system's
}

func (f *flags) registerHTTPS(fs *flag.FlagSet) {
	fs.StringVar(&f.acme, "acme", "", "`NAMES` for which certificates are issued by Let's Encrypt, such as shop.example,www.shop.example, and renewed: serve HTTPS. The authority asks at port 443 of these names, and with -https-redirect at port 80; others get -tls-cert, if that is given")
	fs.StringVar(&f.c.acme.store, "acme-store", "", "`DIRECTORY` or redis:// URL where certificates and their keys are kept, which several gateways may share (needed with -acme)")
	fs.StringVar(&f.c.acme.email, "acme-email", "", "`ADDRESS` to which the authority writes (empty: none)")
	fs.StringVar(&f.c.acme.directory, "acme-directory", "", "`URL` of another authority's directory, or staging for trying out Let's Encrypt (empty: Let's Encrypt)")
	fs.StringVar(&f.acmeCA, "acme-ca", "", "`FILE` with the certificates in PEM by which that authority itself is verified (empty: the system's)")
	fs.StringVar(&f.c.redirect, "https-redirect", "", "`HOST:PORT` of plain HTTP, such as :80, that is redirected to HTTPS and answers -acme's challenges (empty: none)")
	fs.IntVar(&f.c.httpsPort, "https-port", 443, "`PORT` at which visitors find HTTPS, for -https-redirect and -http3")
}

// checkHTTPS refuses what makes no sense together, before anything listens.
func (f *flags) checkHTTPS() {
	c := &f.c
	a := &c.acme
	a.hosts = list(f.acme)
	if a.directory == "staging" {
		a.directory = acme.LetsEncryptStaging
	}
	if c.redirect != "" {
		f.check("https-redirect", c.redirect, checkListen(c.redirect))
		if c.cert == "" && len(a.hosts) == 0 {
			f.check("https-redirect", c.redirect, errors.New("it needs -tls-cert or -acme, for the HTTPS to which it leads"))
		}
	}
	f.check("https-port", strconv.Itoa(c.httpsPort), checkPort(strconv.Itoa(c.httpsPort), 1))
	if len(a.hosts) == 0 {
		f.unused(map[string]string{"acme-store": a.store, "acme-email": a.email, "acme-directory": a.directory, "acme-ca": f.acmeCA}, "it needs -acme NAMES")
		return
	}
	switch {
	case a.store == "":
		f.check("acme-store", "", errors.New("want a directory for certificates and their keys, such as /var/lib/gateway/acme, or a redis:// URL that gateways share"))
	case isRedis(a.store):
		f.check("acme-store", a.store, checkRedis(a.store))
	case strings.Contains(a.store, "://"):
		f.check("acme-store", a.store, errors.New("want a directory or a redis:// URL"))
	}
	f.check("acme", f.acme, acme.Check(acme.Options{Hosts: a.hosts, Storage: acme.Folder("."), Directory: a.directory}))
}

func isRedis(store string) bool {
	return strings.HasPrefix(store, "redis://") || strings.HasPrefix(store, "rediss://")
}

// readRoots reads the certificates by which an authority is verified.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("-acme-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("-acme-ca %s: want certificates in PEM", file)
	}
	return pool, nil
}

// issuer returns who has certificates issued, nil for nobody.
func (t *tier) issuer() (*acme.Manager, error) {
	a := t.config.acme
	if len(a.hosts) == 0 {
		return nil, nil
	}
	storage := acme.Folder(a.store)
	if isRedis(a.store) {
		opts, err := redis.ParseURL(a.store)
		if err != nil {
			return nil, fmt.Errorf("-acme-store: %w", err)
		}
		opts.ContextTimeoutEnabled = true
		client := redis.NewClient(opts)
		t.closers = append(t.closers, client)
		storage = redisstorage.New(client, "")
	}
	m, err := acme.New(acme.Options{
		Hosts: a.hosts, Storage: storage, Email: a.email, Directory: a.directory, Roots: a.roots,
		TLSPort: portOf(t.sockets.main), HTTPPort: portOf(t.sockets.plain), Logger: t.log,
	})
	if err != nil {
		return nil, fmt.Errorf("-acme: %w", err)
	}
	t.closers = append(t.closers, m)
	return m, nil
}

// portOf returns the port of a listener, or -1 if there is none.
func portOf(l net.Listener) int {
	if l == nil {
		return -1
	}
	if at, ok := l.Addr().(*net.TCPAddr); ok {
		return at.Port
	}
	return -1
}

// redirect makes the server of plain HTTP, if there is to be one, with what is the same
// for both.
func (t *tier) redirect(issued *acme.Manager, both edge.Options) error {
	if t.sockets.plain == nil {
		return nil
	}
	h, err := edge.HTTPSRedirectPort(t.config.httpsPort)
	if err != nil {
		return fmt.Errorf("-https-port: %w", err)
	}
	var plain http.Handler = h
	if issued != nil {
		plain = issued.Handler(h)
	}
	both.Listener, both.Issuer, both.Certificates, both.HTTP3 = t.sockets.gate.behind(t.sockets.plain), nil, nil, nil
	srv, err := edge.New(plain, both)
	if err != nil {
		return fmt.Errorf("-https-redirect: %w", err)
	}
	t.reporters = append(t.reporters, srv)
	t.background = append(t.background, edge.RunnerFunc(func(ctx context.Context) error { return srv.Run(ctx) }))
	return nil
}
