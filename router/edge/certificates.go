package edge

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	certificatePoll = time.Minute
	certificateWarn = 14 * 24 * time.Hour // before its end
)

// A CertificateSource serves certificates from files and takes up new ones by
// their content, which also works where files are swapped through symbolic
// links. It is safe for concurrent use.
type CertificateSource struct {
	pairs atomic.Pointer[[]*tls.Certificate] // as of the last good read

	mu    sync.Mutex
	files []pairFiles // guarded by mu
	raw   [][2][]byte // guarded by mu: what pairs was made of
	told  string      // guarded by mu: the last error, which somebody has been told
}

type pairFiles struct{ cert, key string }

// Certificates reads a certificate chain and its key, both PEM. A server with
// this source re-reads them every minute; a pair that cannot be used is
// reported, once, and the old one stays.
func Certificates(certFile, keyFile string) (*CertificateSource, error) {
	s := &CertificateSource{files: []pairFiles{{certFile, keyFile}}}
	if _, _, err := s.load(); err != nil {
		return nil, err
	}
	return s, nil
}

// Add reads one more pair. A client gets the first pair whose certificate is for
// the name that it asks for, and the very first if none is.
func (s *CertificateSource) Add(certFile, keyFile string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files = append(s.files, pairFiles{certFile, keyFile})
	if _, err := s.loadLocked(); err != nil {
		s.files = s.files[:len(s.files)-1]
		return err
	}
	return nil
}

// GetCertificate serves [tls.Config].
func (s *CertificateSource) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	pairs := *s.pairs.Load()
	for _, p := range pairs {
		if hello.SupportsCertificate(p) == nil {
			return p, nil
		}
	}
	return pairs[0], nil
}

// Reload reads all files now. On an error the certificates stay as they were, and the
// server says no more of it.
func (s *CertificateSource) Reload() error {
	_, _, err := s.load()
	return err
}

// load reads all pairs and swaps them, all or none. It reports whether any has changed,
// and whether err, of which its caller tells somebody, is not what was told last.
func (s *CertificateSource) load() (changed, isNew bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed, err = s.loadLocked()
	text := ""
	if err != nil {
		text = err.Error()
	}
	isNew = text != s.told
	s.told = text
	return changed, isNew, err
}

func (s *CertificateSource) loadLocked() (changed bool, err error) {
	raw := make([][2][]byte, len(s.files))
	pairs := make([]*tls.Certificate, len(s.files))
	for i, f := range s.files {
		if raw[i][0], err = os.ReadFile(f.cert); err != nil {
			return false, fmt.Errorf("edge: certificate: %w", err)
		}
		if raw[i][1], err = os.ReadFile(f.key); err != nil {
			return false, fmt.Errorf("edge: certificate key: %w", err)
		}
		if i < len(s.raw) && bytes.Equal(raw[i][0], s.raw[i][0]) && bytes.Equal(raw[i][1], s.raw[i][1]) {
			pairs[i] = (*s.pairs.Load())[i]
			continue
		}
		pair, err := tls.X509KeyPair(raw[i][0], raw[i][1])
		if err != nil {
			return false, fmt.Errorf("edge: certificate %s with key %s: %w", f.cert, f.key, err)
		}
		if pair.Leaf == nil {
			if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
				return false, fmt.Errorf("edge: certificate %s: %w", f.cert, err)
			}
		}
		if i < len(s.raw) && time.Now().After(pair.Leaf.NotAfter) {
			return false, fmt.Errorf("edge: certificate %s: the new one has ended on %s", f.cert, pair.Leaf.NotAfter.Format(time.DateOnly))
		}
		pairs[i], changed = &pair, true
	}
	s.raw = raw
	s.pairs.Store(&pairs)
	return changed, nil
}

// warning says which certificate ends soon, or "".
func (s *CertificateSource) warning(now time.Time) string {
	for _, p := range *s.pairs.Load() {
		if left := p.Leaf.NotAfter.Sub(now); left < certificateWarn {
			names := append(slices.Clone(p.Leaf.DNSNames), p.Leaf.Subject.CommonName)
			return fmt.Sprintf("the certificate for %s ends on %s", names[0], p.Leaf.NotAfter.Format(time.DateOnly))
		}
	}
	return ""
}

// run re-reads the files until ctx ends.
func (s *CertificateSource) run(ctx context.Context, logger *slog.Logger) {
	tick := time.NewTicker(certificatePoll)
	defer tick.Stop()
	warned := ""
	for {
		if w := s.warning(time.Now()); w != warned {
			if warned = w; w != "" {
				logger.Warn("certificate ends soon", "cause", errors.New(w))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		changed, isNew, err := s.load()
		switch {
		case err != nil && !isNew:
		case err != nil:
			logger.Error("certificate not taken up, the old one stays", "cause", err)
		case changed:
			logger.Info("new certificate")
		}
	}
}
