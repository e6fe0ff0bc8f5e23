package acme

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	acmelib "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

// A Manager has certificates issued and renewed, and answers the authority's
// challenges. It is an edge.Issuer, and safe for concurrent use.
type Manager struct {
	opts   Options
	cache  *certmagic.Cache
	config *certmagic.Config
	issuer *certmagic.ACMEIssuer
	looks  chan struct{} // has room for those who may look for a challenge in the storage
	closed sync.Once

	hosts map[string]bool // never changed

	mu     sync.Mutex
	causes map[string]error // guarded by mu: why there is no later certificate, by host
	issued uint64           // guarded by mu
	failed uint64           // guarded by mu
}

// maxLooks is how many requests and handshakes may look for a challenge in the storage
// at once: anybody may ask, and a storage may be slow.
const maxLooks = 32

// New returns a Manager, which orders nothing before it runs: a server does that for
// its edge.Options.Issuer. One that never runs must be closed.
func New(opts Options) (*Manager, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	m := &Manager{opts: opts, hosts: make(map[string]bool), causes: make(map[string]error), looks: make(chan struct{}, maxLooks)}
	for _, name := range opts.Hosts {
		m.hosts[name] = true
	}
	logger := zap.New(core{opts.Logger})
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return m.config, nil },
		RenewCheckInterval: opts.Check,
		Logger:             logger,
	})
	m.config = certmagic.New(m.cache, certmagic.Config{Storage: opts.Storage, OnEvent: m.happened, Logger: logger})
	template := certmagic.ACMEIssuer{
		CA: opts.Directory, TestCA: opts.Directory, // that of Let's Encrypt else
		Email: opts.Email, Agreed: true, TrustedRoots: opts.Roots, Logger: logger,
		DisableHTTPChallenge: opts.HTTPPort < 0, AltHTTPPort: max(opts.HTTPPort, 0),
		DisableTLSALPNChallenge: opts.TLSPort < 0, AltTLSALPNPort: max(opts.TLSPort, 0),
	}
	if opts.Directory == LetsEncrypt {
		template.TestCA = LetsEncryptStaging // what fails there does not count
	}
	if opts.KeyID != "" {
		template.ExternalAccount = &acmelib.EAB{KeyID: opts.KeyID, MACKey: opts.MACKey}
	}
	m.issuer = certmagic.NewACMEIssuer(m.config, template)
	m.config.Issuers = []certmagic.Issuer{m.issuer}
	return m, nil
}

// Close ends a Manager that does not run. It is idempotent.
func (m *Manager) Close() error {
	m.closed.Do(m.cache.Stop)
	return nil
}

// Run implements edge.Runner: it takes up what is in the storage, orders what is
// missing, and renews all in time, until ctx ends. A storage or an authority that is
// down ends nothing: it tries again.
func (m *Manager) Run(ctx context.Context) error {
	defer m.Close()
	var all sync.WaitGroup
	for _, name := range m.opts.Hosts {
		all.Go(func() { m.begin(ctx, name) })
	}
	all.Wait()
	<-ctx.Done()
	return nil
}

// begin gets the first certificate for a host; from then on the cache renews it.
func (m *Manager) begin(ctx context.Context, name string) {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		cert, err := m.config.CacheManagedCertificate(ctx, name)
		if err == nil && cert.NeedsRenewal(m.config) {
			if err := m.config.RenewCertAsync(ctx, name, false); err == nil { // else the cache goes on trying
				_, _ = m.config.CacheManagedCertificate(ctx, name) // likewise
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			// It tries for a month, less and less often, which an authority wants.
			if err = m.config.ObtainCertAsync(ctx, name); err == nil {
				_, err = m.config.CacheManagedCertificate(ctx, name)
			}
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		m.failure(name, err)
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return
		}
	}
}

// happened is told by certmagic what it has done.
func (m *Manager) happened(_ context.Context, event string, data map[string]any) error {
	name, _ := data["identifier"].(string)
	switch event {
	case "cert_obtained":
		m.mu.Lock()
		m.issued++
		delete(m.causes, name)
		m.mu.Unlock()
		m.opts.Logger.Info("certificate issued", "host", name)
	case "cert_failed":
		err, _ := data["error"].(error)
		m.failure(name, err)
	}
	return nil
}

// served returns the end of the certificate that is served for a host, and how long it
// was made for; zero: there is none.
func (m *Manager) served(name string) (end time.Time, life time.Duration) {
	for _, cert := range m.cache.AllMatchingCertificates(name) {
		if leaf := cert.Leaf; leaf != nil && leaf.NotAfter.After(end) {
			end, life = leaf.NotAfter, leaf.NotAfter.Sub(leaf.NotBefore)
		}
	}
	return end, life
}

// failure notes and logs why there is no certificate.
func (m *Manager) failure(name string, err error) {
	m.mu.Lock()
	m.failed++
	m.causes[name] = err
	m.mu.Unlock()
	m.opts.Logger.Error("certificate not issued, another attempt follows", "host", name, "cause", err)
}

var errCrowd = errors.New("acme: too many look for challenges")

// Certificate implements edge.Issuer.
func (m *Manager) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(hello.ServerName)
	if !m.hosts[name] {
		return nil, nil
	}
	if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acmez.ACMETLS1Protocol { // it verifies a name (RFC 8737)
		if !m.look() {
			return nil, errCrowd
		}
		defer m.looked()
	} else if len(m.cache.AllMatchingCertificates(name)) == 0 {
		return nil, nil
	}
	cert, err := m.config.GetCertificate(hello)
	if err != nil {
		return nil, fmt.Errorf("acme: %w", err)
	}
	return cert, nil
}

// look reports whether one more may look for a challenge; looked follows if so.
func (m *Manager) look() bool {
	select {
	case m.looks <- struct{}{}:
		return true
	default:
		return false
	}
}

func (m *Manager) looked() { <-m.looks }
