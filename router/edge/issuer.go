package edge

import (
	"crypto/tls"
	"fmt"

	"github.com/foretier/foretier/health"
)

// An Issuer gets certificates while the server runs, by ACME for one: see package
// acme. The server runs it, and shows its report. It is safe for concurrent use.
type Issuer interface {
	Runner
	health.Reporter
	// Certificate returns the certificate for the name that a client asks for, or
	// what a challenge by TLS-ALPN wants (RFC 8737). Nil without an error means
	// that it has none: the name is none of its own, or nothing was issued yet.
	Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

// acmeProtocol is what an authority speaks that verifies a name by TLS-ALPN: the
// handshake is all that it wants (RFC 8737, section 3).
const acmeProtocol = "acme-tls/1"

// certificate serves [tls.Config]: what is issued for the name, and else what there
// is from files.
func (o *Options) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if o.Issuer != nil {
		if cert, err := o.Issuer.Certificate(hello); cert != nil || err != nil {
			return cert, err
		}
	}
	if o.Certificates != nil {
		return o.Certificates.GetCertificate(hello)
	}
	return nil, fmt.Errorf("edge: no certificate for %q", hello.ServerName)
}
