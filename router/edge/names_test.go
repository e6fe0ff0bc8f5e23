package edge_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// client returns a client's certificate and the pool that its authority makes.
func client(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	authority := testkit.NewAuthority(t)
	return authority.Issue(t, name), authority.Pool
}

// byName serves with the configuration that configs has for each name; names
// of none get the server's own, and "refused" none.
func byName(t *testing.T, h http.Handler, configs map[string]*tls.Config) *edge.Server {
	t.Helper()
	certs, err := edge.Certificates(pair(t, t.TempDir(), "shop.example", time.Now().Add(90*24*time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, h, edge.Options{Certificates: certs, TLS: &tls.Config{
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if hello.Conn.RemoteAddr() == nil || len(hello.CipherSuites) == 0 {
				t.Error("a hello that no client sent")
			}
			if strings.HasPrefix(hello.ServerName, "refused") {
				return nil, errors.New("no such name")
			}
			return configs[hello.ServerName], nil
		},
	}})
}

func TestClientCertificateOpensItsOwnNameOnly(t *testing.T) {
	cert, staff := client(t, "staff")
	_, others := client(t, "others")
	srv := byName(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "in") }), map[string]*tls.Config{
		"admin.example":    {ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: staff},
		"admin2.example":   {ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: staff.Clone()},
		"partners.example": {ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: others},
		"given.example":    {ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: staff},
		"any.example":      {ClientAuth: tls.RequireAnyClientCert, VerifyConnection: func(tls.ConnectionState) error { return nil }},
		"any2.example":     {ClientAuth: tls.RequireAnyClientCert, VerifyConnection: func(tls.ConnectionState) error { return nil }},
		"static.example":   {},
	})
	for _, c := range []struct {
		name, host string
		want       int
	}{
		{"shop.example", "shop.example", 200},
		{"shop.example", "SHOP.example.", 200},
		{"shop.example", "static.example", 200},
		{"shop.example", "admin.example", 421},
		{"shop.example", "ADMIN.example", 421},
		{"shop.example", "admin.example.", 421},
		{"shop.example", "admin.example:443", 421},
		{"static.example", "admin.example", 421},
		{"", "admin.example", 421},
		{"", "shop.example", 200},
		{"", "127.0.0.1", 200},
		{"shop.example", "127.0.0.1:443", 200},
		{"shop.example", "[::1]:443", 200},
		{"admin.example", "127.0.0.1", 421},
		{"admin.example", "admin.example", 200},
		{"admin.example", "admin2.example", 200},
		{"admin.example", "shop.example", 421},
		{"admin.example", "partners.example", 421},
		{"given.example", "admin.example", 421},
		{"any.example", "any.example", 200},
		{"any.example", "any2.example", 421},
		{"shop.example", "refused.example", 421},
	} {
		for _, proto := range []string{"http/1.1", "h2"} {
			tr := &http.Transport{ForceAttemptHTTP2: proto == "h2", TLSClientConfig: &tls.Config{
				InsecureSkipVerify: true, ServerName: c.name, Certificates: []tls.Certificate{cert}, NextProtos: []string{proto}}}
			if c.name == "" { // a name is taken from the address otherwise, and an address is none
				tr.TLSClientConfig.ServerName = "127.0.0.1"
			}
			req, err := http.NewRequest("GET", "https://"+srv.Addr().String()+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = c.host
			res, err := tr.RoundTrip(req)
			if err != nil {
				t.Errorf("%s, host %s on a connection for %q: %v", proto, c.host, c.name, err)
				continue
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			tr.CloseIdleConnections()
			if res.StatusCode != c.want || err != nil || (string(body) == "in") != (c.want == 200) || (res.ProtoMajor == 2) != (proto == "h2") {
				t.Errorf("%s, host %s on a connection for %q: got %s %s %q, %v, want %d", proto, c.host, c.name, res.Proto, res.Status, body, err, c.want)
			}
		}
	}
}

// VerifyConnection may tell names apart too.
func TestVerifyConnectionJudgesTheNameAskedFor(t *testing.T) {
	cert, _ := client(t, "staff")
	certs, err := edge.Certificates(pair(t, t.TempDir(), "shop.example", time.Now().Add(24*time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	srv := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), edge.Options{Certificates: certs, TLS: &tls.Config{
		ClientAuth: tls.RequestClientCert,
		VerifyConnection: func(s tls.ConnectionState) error {
			if s.ServerName == "admin.example" && len(s.PeerCertificates) == 0 {
				return errors.New("staff only")
			}
			return nil
		}}})
	for _, c := range []struct {
		staff bool
		host  string
		want  int
	}{{false, "shop.example", 200}, {false, "www.example", 200}, {false, "admin.example", 421}, {false, "ADMIN.example:443", 421}, {true, "admin.example", 200}} {
		tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "shop.example"}}
		if c.staff {
			tr.TLSClientConfig.Certificates = []tls.Certificate{cert}
		}
		req, err := http.NewRequest("GET", "https://"+srv.Addr().String()+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = c.host
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		tr.CloseIdleConnections()
		if res.StatusCode != c.want {
			t.Errorf("%+v: got %s", c, res.Status)
		}
	}
}

// oneSession is a client's memory that offers the session of one name to all.
type oneSession struct{ s *tls.ClientSessionState }

func (c *oneSession) Get(string) (*tls.ClientSessionState, bool) { return c.s, c.s != nil }
func (c *oneSession) Put(_ string, s *tls.ClientSessionState)    { c.s = s }

// A resumed session skips VerifyPeerCertificate, so it opens only the name that
// it was begun for.
func TestSessionIsResumedForItsOwnNameOnly(t *testing.T) {
	cert, _ := client(t, "visitor")
	refuse := func([][]byte, [][]*x509.Certificate) error { return errors.New("not on the list") }
	accept := func([][]byte, [][]*x509.Certificate) error { return nil }
	srv := byName(t, http.NotFoundHandler(), map[string]*tls.Config{
		"shop.example":  {ClientAuth: tls.RequireAnyClientCert, VerifyPeerCertificate: accept},
		"admin.example": {ClientAuth: tls.RequireAnyClientCert, VerifyPeerCertificate: refuse},
	})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		memory := new(oneSession)
		ask := func(name string) (resumed bool, err error) {
			c, err := tls.Dial("tcp", srv.Addr().String(), &tls.Config{InsecureSkipVerify: true, ServerName: name,
				Certificates: []tls.Certificate{cert}, ClientSessionCache: memory, MaxVersion: version})
			if err != nil {
				return false, err
			}
			defer c.Close()
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+name+"\r\nConnection: close\r\n\r\n"); err != nil {
				return false, err
			}
			_, err = io.ReadAll(c) // the session comes behind the handshake
			return c.ConnectionState().DidResume, err
		}
		if resumed, err := ask("shop.example"); resumed || err != nil {
			t.Fatalf("%x: the first: resumed %t, %v", version, resumed, err)
		}
		if resumed, err := ask("shop.example"); !resumed || err != nil {
			t.Errorf("%x: the same name again: resumed %t, %v, want it resumed", version, resumed, err)
		}
		if resumed, err := ask("admin.example"); resumed || err == nil {
			t.Errorf("%x: the other name: resumed %t, %v, want a handshake that is refused", version, resumed, err)
		}
	}
}

// What a function returns for a name has the server's floor and protocols.
func TestConfigByNameIsCompleted(t *testing.T) {
	srv := byName(t, http.NotFoundHandler(), map[string]*tls.Config{"old.example": {MinVersion: tls.VersionTLS10}})
	conf := &tls.Config{InsecureSkipVerify: true, ServerName: "old.example", NextProtos: []string{"h2"}}
	c, err := tls.Dial("tcp", srv.Addr().String(), conf)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.ConnectionState().NegotiatedProtocol; got != "h2" {
		t.Errorf("it speaks %q", got)
	}
	c.Close()
	conf.MinVersion, conf.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if c, err := tls.Dial("tcp", srv.Addr().String(), conf); err == nil {
		c.Close()
		t.Error("TLS 1.1 was accepted")
	}
}
