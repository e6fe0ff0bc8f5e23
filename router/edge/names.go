package edge

import (
	"crypto/tls"
	"net/http"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// The names of one server may ask for different client certificates:
// tls.Config.GetConfigForClient says so for each. What a client has shown for
// one name then says nothing for another, so a request whose Host is not the
// name of its handshake is sent away with 421, which makes a client open a
// connection of its own for that name (RFC 9110, section 15.5.20). HTTP/2
// clients send such requests wherever one certificate is for both names
// (RFC 9113, section 9.1.1). And a session is resumed only for the name that it
// was begun for: a resumed one skips VerifyPeerCertificate.

// names tells which client certificates a server asks for, by name.
type names struct {
	base *tls.Config // for names of which ask says nothing
	keys *tls.Config // seals the sessions of all names
	ask  func(*tls.ClientHelloInfo) (*tls.Config, error)
	opts *Options
}

// nameSession begins what is kept in a session beside TLS's own: the name that
// it was begun for.
const nameSession = "foretier edge: name "

// configure makes base, the server's own, ask by name, and returns nil if all
// names are the same to it.
func configure(base *tls.Config, opts *Options) *names {
	switch {
	case base == nil:
		return nil
	case base.GetConfigForClient == nil && (base.VerifyConnection == nil || base.ClientAuth == tls.NoClientCert):
		return nil
	case base.GetConfigForClient == nil:
		return &names{base: base, ask: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, nil }}
	}
	n := &names{base: base, keys: base.Clone(), ask: base.GetConfigForClient, opts: opts}
	base.GetConfigForClient = n.configFor
	n.bind(base)
	return n
}

// configFor serves tls.Config.GetConfigForClient: what the user's function
// says, completed as the server's own configuration is.
func (n *names) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	kept := *hello
	if c, ok := hello.Conn.(*conn); ok {
		c.hello = &kept
	} else if g, ok := hello.Context().Value(guestKey{}).(*Guest); ok {
		g.hello.Store(&kept)
	}
	given, err := n.ask(hello)
	if err != nil || given == nil {
		return nil, err
	}
	c := given.Clone()
	n.opts.complete(c)
	n.bind(c)
	return c, nil
}

// bind makes c resume a session for no other name than it was begun for. The
// keys are those of one configuration for all names, so that a function which
// makes a new one each time resumes sessions too.
func (n *names) bind(c *tls.Config) {
	wrap, unwrap := c.WrapSession, c.UnwrapSession
	if wrap == nil {
		wrap = n.keys.EncryptTicket
	}
	if unwrap == nil {
		unwrap = n.keys.DecryptTicket
	}
	c.WrapSession = func(cs tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		session.Extra = append(session.Extra, []byte(nameSession+strings.ToLower(cs.ServerName)))
		return wrap(cs, session)
	}
	c.UnwrapSession = func(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		session, err := unwrap(identity, cs)
		if err != nil || session == nil {
			return nil, err
		}
		for _, extra := range session.Extra {
			if string(extra) == nameSession+strings.ToLower(cs.ServerName) {
				return session, nil
			}
		}
		return nil, nil
	}
}

// misdirected says why r belongs on another connection, or nil: the name that
// it asks for wants other client certificates than the name of the handshake
// did.
func (s *Server) misdirected(r *http.Request) *refusal {
	if s.names == nil || r.TLS == nil {
		return nil
	}
	name := serverName(r.Host)
	if strings.EqualFold(name, r.TLS.ServerName) {
		return nil
	}
	hello := tls.ClientHelloInfo{}
	if c, ok := r.Context().Value(connKey{}).(*conn); ok && c.hello != nil {
		hello = *c.hello
	} else if g, ok := r.Context().Value(guestKey{}).(*Guest); ok && g.hello.Load() != nil {
		hello = *g.hello.Load()
	}
	shaken, err := s.names.config(hello, r.TLS.ServerName)
	if err == nil {
		var wanted *tls.Config
		if wanted, err = s.names.config(hello, name); err == nil && sameClients(shaken, wanted) && admits(wanted, r.TLS, name) {
			return nil
		}
	}
	if err != nil {
		return refuse(http.StatusMisdirectedRequest, "host %q on a connection for %q: no handshake for it: %w", transit.Clip(fields.AfterLogin(r.Host)), transit.Clip(r.TLS.ServerName), err)
	}
	return refuse(http.StatusMisdirectedRequest, "host %q on a connection for %q, which asks for other client certificates", transit.Clip(fields.AfterLogin(r.Host)), transit.Clip(r.TLS.ServerName))
}

// config returns what a handshake like hello for name is made with.
func (n *names) config(hello tls.ClientHelloInfo, name string) (*tls.Config, error) {
	hello.ServerName = name
	c, err := n.ask(&hello)
	if c == nil {
		c = n.base
	}
	return c, err
}

// serverName returns the name by which a client that wants host asks in its
// handshake: none for an address (RFC 6066, section 3).
func serverName(host string) string {
	if _, ok := fields.Addr(host); ok {
		return ""
	}
	return fields.Hostname(host)
}

// admits reports whether c, which asks for client certificates, would have
// accepted the handshake for name: its VerifyConnection may tell names apart.
func admits(c *tls.Config, shaken *tls.ConnectionState, name string) bool {
	if c.ClientAuth == tls.NoClientCert || c.VerifyConnection == nil {
		return true
	}
	as := *shaken
	as.ServerName = name
	return c.VerifyConnection(as) == nil
}

// sameClients reports whether a and b ask for the same client certificates.
// Functions cannot be compared, so two configurations that judge by their own
// are not the same.
func sameClients(a, b *tls.Config) bool {
	switch {
	case a == b:
		return true
	case a.ClientAuth != b.ClientAuth:
		return false
	case a.ClientAuth == tls.NoClientCert:
		return true
	}
	for _, c := range []*tls.Config{a, b} {
		if c.VerifyPeerCertificate != nil || c.VerifyConnection != nil {
			return false
		}
	}
	return a.ClientCAs.Equal(b.ClientCAs)
}
