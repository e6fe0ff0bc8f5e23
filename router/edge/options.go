package edge

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/given"
	"github.com/foretier/foretier/internal/http1"
)

// Options for [New]. The zero value is valid: plain HTTP on port 80.
type Options struct {
	// Name tells servers apart in reports; empty means the address.
	Name string
	// Addr is what to listen on, host:port; empty means ":80", or ":443" with
	// TLS. Not looked at if Listener is set.
	Addr string
	// Listener is used instead of Addr. The server closes it. It may be of a socket of
	// this machine, of [ListenUnix] for one: whoever comes over that counts as 127.0.0.1,
	// which stands in Trusted if it is a proxy, and only its file's mode says who may.
	Listener net.Listener
	// NoPort has New listen on nothing, whatever Addr says. The server gets its
	// listener by [Server.Listen], before Run; or it gets none, and is mounted in an
	// http.Server of somebody else's. It may not be set beside Listener.
	NoPort bool
	// Wrap, if set, wraps the listener, below TLS: the place for the PROXY
	// protocol. What it returns must know the client's address when RemoteAddr
	// is called, and must take the protocol's header only from the load
	// balancers, there always.
	Wrap func(net.Listener) net.Listener
	// TLS makes the server speak TLS, 1.2 at least. Its GetConfigForClient may
	// ask for client certificates by name; what it returns is completed as TLS
	// itself is, and resumes sessions with TLS's keys. A request for one name
	// on a connection for another is then answered 421 (RFC 9110, section
	// 15.5.20), unless both ask for the same: the same *tls.Config, no client
	// certificates, or the same ClientAuth and ClientCAs without a function
	// that verifies. VerifyConnection, where it may see client certificates, is
	// asked again for such a request, with the name that it asks for.
	TLS *tls.Config
	// Certificates makes the server speak TLS with these certificates, which
	// it re-reads while it runs. It may be combined with a TLS that has none of
	// its own; what GetConfigForClient returns may have some.
	Certificates *CertificateSource
	// Issuer makes the server speak TLS with certificates that are issued to it
	// while it runs: see package acme. Names for which it has none get one of
	// Certificates, if there are any; else their handshakes fail. It may be combined
	// with a TLS that has no certificates of its own.
	Issuer Issuer
	// HTTP3 serves HTTP/3 as well, over UDP: see package h3. It needs TLS. Its connections
	// count among those of Limits, and answers tell clients of it (Alt-Svc). Wrap has
	// nothing to do with them.
	HTTP3 HTTP3
	// Trusted are the proxies in front whose X-Forwarded-For,
	// X-Forwarded-Proto and X-Request-Id count. Of anybody else they are
	// removed. X-Forwarded-Host and Forwarded are nobody's: a proxy in front
	// must leave Host as the client sent it.
	Trusted []netip.Prefix
	// Tracing says what becomes of traceparent and tracestate, and begins spans. The zero
	// value lets them through as they came.
	Tracing Tracing
	// Observers are clients who are shown how their requests went: every answer has a
	// Server-Timing for the browser's own tools, with what each part did and how long the
	// header took, and X-Route-Trace with the same in words if the request has a field of
	// that name. They go through the chain always. What it tells, such as which backend
	// failed and why, is nobody else's to know; empty, the default, means nobody.
	Observers []netip.Prefix
	// HalfClosed says that an HTTP/1.1 client which closes its direction once it
	// has sent its request, as nc -N and some old programs do, has not left: it is
	// answered. By default its request is given up, as nginx does, since hardly
	// any other client does so but one that has gone. One that has really gone then
	// shows only once something is written to it, or if its end was a reset.
	HalfClosed bool
	// PlainHTTP2 has HTTP/2 served without TLS, too, to clients that begin with it
	// (RFC 9113, section 3.3), as load balancers do that are told to. Browsers never do.
	// Not with NetHTTP.
	PlainHTTP2 bool
	// NetHTTP has HTTP/1.1 and HTTP/2 served by net/http's server, should the
	// tier's own be at fault. A hit costs it nearly twice as much, and more is forgiven:
	// what it turns away unread leaves no line, a malformed body gets no answer,
	// trusted proxies get Idle, and a connection is closed on which a body was not
	// read before the answer began. It goes with the next release.
	NetHTTP bool
	// NetHTTP2 has HTTP/2 served by net/http's server, should the tier's own be at fault:
	// it costs far more, forgives fields that HTTP/2 does not have, and leaves no line of
	// what it turns away. It goes with the next release.
	NetHTTP2 bool
	// NoInstant has every request asked of the handler. By default a GET
	// is answered from its head alone if the chain has answered its like
	// from a cache, and nothing else of a request could have made another answer
	// of it: see the package's documentation.
	NoInstant bool
	// HSTS is the max-age of Strict-Transport-Security, which answers over
	// https get unless a backend has set it: browsers then refuse http for as
	// long, and cannot be told otherwise. Begin with 5 minutes. Zero, the
	// default, and negative mean none. Subdomains are never included.
	HSTS time.Duration
	// Limits bound what a client may send, and how slowly.
	Limits Limits
	// Pages are the operator's own HTML pages, by status, for errors of the
	// tier's own; 64 KiB each at most. They must need no other file. Where one has
	// {request-id}, it tells the request's name, by which the log is searched.
	Pages map[int][]byte
	// HostPages are such pages for single hosts, named without port, before
	// those in Pages.
	HostPages map[string]map[int][]byte
	// Linger is how long the server goes on accepting connections after its
	// context has ended, while Ready says that it should get none, so that load
	// balancers can notice. Zero means 10 s, negative not at all.
	Linger time.Duration
	// Drain is how long requests may take to end after that. Zero means 30 s,
	// negative not at all.
	Drain time.Duration
	// Logger gets the log; nil means slog.Default(). A request waits until its
	// line is written, so give its handler a [LogWriter]: who reads a log may
	// stand still. A [LogHandler] costs a request least. Durations in it are in
	// seconds. It says when the server begins to serve and to drain, and where.
	Logger *slog.Logger
	// NoAccessLog leaves out the line for each request, but not for those that
	// the tier could not serve.
	NoAccessLog bool
	// Combined, if set, gets the line for each request, in the combined format
	// of Apache and nginx; Logger then gets only those that the tier could not
	// serve. It gets several lines at once, and none waits for it: see
	// [LogWriter].
	Combined io.Writer
	// SampleHits has one line of so many written for what is answered from a cache alone,
	// chosen by chance; each says so by "sampled", the number of requests that it stands
	// for. What fails or takes a second, and what a backend was asked for, has its line
	// always. Zero, one and negative mean all, the default. It may not be set beside
	// Combined, of which no line could say so.
	SampleHits int
	// AnonymousLog shortens clients' addresses in logs to /24 and /48.
	AnonymousLog bool
}

// Limits bound a client. Zero fields mean the default; a negative duration or
// size or number means no limit.
type Limits struct {
	Header      time.Duration // to send a request's header: 10 s
	Idle        time.Duration // between two requests on a connection: 75 s
	TrustedIdle time.Duration // the same for a trusted proxy: 920 s
	BodyStall   time.Duration // without a byte of a request body: 30 s
	WriteStall  time.Duration // without taking a byte of a response, or answering a PING of HTTP/2 (sent after 30 s of silence): 120 s
	UpgradeIdle time.Duration // without a byte on an upgraded connection, or stream of HTTP/2: 1 h
	Target      int           // bytes of the request target: 8,000
	Headers     int           // bytes of all header fields: 32 KiB
	Streams     int           // concurrent streams of a connection of HTTP/2 or HTTP/3: 100
	// Fields is how many fields a request's header may have: 256. A line is a
	// field; cookies that HTTP/2 sends one by one are one. There may be twice as
	// many cookies: 512. Negative means no limit of either.
	Fields int
	// Conns is how many connections may be open, upgraded ones included: half
	// of the descriptors that the process may have when the server is made,
	// since a request may need one to a backend too; no limit where that is not
	// known. Where there is no room for another, connections on which nothing
	// is asked are closed, the longest idle first; if there are none, the other
	// is closed. The log says so, at Error, once a second.
	Conns int
	// ClientConns is how many of them one client may have, an IPv4 address or an
	// IPv6 /64: half of Conns. Trusted proxies have no limit of their own.
	ClientConns int
}

// maxPage is the largest error page, in bytes.
const maxPage = 64 << 10

// withDefaults returns a checked copy that shares no memory with o but TLS,
// which it clones.
func (o Options) withDefaults() (Options, error) {
	if o.secure() {
		o.Addr = cmp.Or(o.Addr, ":443")
	}
	o.Addr = cmp.Or(o.Addr, ":80")
	if o.NoPort && o.Listener != nil {
		return o, errors.New("edge: NoPort beside a Listener: want one of the two")
	}
	var err error
	if o.Trusted, err = given.Prefixes(o.Trusted); err != nil {
		return o, fmt.Errorf("edge: Trusted: %w", err)
	}
	if o.Observers, err = given.Prefixes(o.Observers); err != nil {
		return o, fmt.Errorf("edge: Observers: %w", err)
	}
	if o.Pages, err = clonePages(o.Pages); err != nil {
		return o, err
	}
	if o.HostPages, err = cloneHostPages(o.HostPages); err != nil {
		return o, err
	}
	if o.SampleHits > 1 && o.Combined != nil {
		return o, errors.New("edge: SampleHits beside Combined: its lines cannot say for how many they stand")
	}
	if o.HSTS > 0 && o.HSTS < time.Second {
		return o, fmt.Errorf("edge: HSTS of %s: want a second or more, since max-age=0 switches it off", o.HSTS)
	}
	if err := o.checkTLS(); err != nil {
		return o, err
	}
	if err := o.checkHTTP3(); err != nil {
		return o, err
	}
	o.Logger = cmp.Or(o.Logger, slog.Default())
	o.Linger = cmp.Or(o.Linger, 10*time.Second)
	o.Drain = cmp.Or(o.Drain, 30*time.Second)
	l := &o.Limits
	l.Header = cmp.Or(l.Header, 10*time.Second)
	l.Idle = cmp.Or(l.Idle, 75*time.Second)
	l.TrustedIdle = cmp.Or(l.TrustedIdle, 920*time.Second)
	l.BodyStall = cmp.Or(l.BodyStall, 30*time.Second)
	l.WriteStall = cmp.Or(l.WriteStall, 120*time.Second)
	l.UpgradeIdle = cmp.Or(l.UpgradeIdle, time.Hour)
	l.Target = cmp.Or(l.Target, 8000)
	l.Headers = cmp.Or(l.Headers, 32<<10)
	l.Streams = cmp.Or(l.Streams, 100)
	l.Fields = cmp.Or(l.Fields, 256)
	l.Conns = cmp.Or(l.Conns, descriptors()/2)
	if l.Conns > 0 {
		l.ClientConns = cmp.Or(l.ClientConns, max(1, l.Conns/2))
	}
	if l.Streams < 0 {
		return o, fmt.Errorf("edge: Limits.Streams: %d: HTTP/2 and HTTP/3 streams cannot be unlimited", l.Streams)
	}
	return o, nil
}

// clonePages copies and checks error pages.
func clonePages(pages map[int][]byte) (map[int][]byte, error) {
	pages = maps.Clone(pages)
	for status, page := range pages {
		if status < 400 || status > 599 {
			return nil, fmt.Errorf("edge: Pages: %d is no error status", status)
		}
		if len(page) == 0 || len(page) > maxPage {
			return nil, fmt.Errorf("edge: Pages: the page for %d has %d bytes: want 1 to %d", status, len(page), maxPage)
		}
		pages[status] = slices.Clone(page)
	}
	return pages, nil
}

// cloneHostPages copies and checks the pages of hosts, and names these as
// [fields.Hostname] does.
func cloneHostPages(byHost map[string]map[int][]byte) (map[string]map[int][]byte, error) {
	out := make(map[string]map[int][]byte, len(byHost))
	for host, pages := range byHost {
		name := fields.Hostname(host)
		if _, port := fields.SplitPort(host); !fields.Host(name) || name != fields.Hostname(name) || port != "" {
			return nil, fmt.Errorf("edge: HostPages: %q is no host: want a name without scheme and port, such as shop.example", host)
		}
		if out[name] != nil {
			return nil, fmt.Errorf("edge: HostPages: %q is there twice, in different letters", name)
		}
		var err error
		if out[name], err = clonePages(pages); err != nil {
			return nil, fmt.Errorf("%w (host %s)", err, host)
		}
	}
	return out, nil
}

// checkTLS says what of TLS would show in a handshake only.
func (o *Options) checkTLS() error {
	switch c := o.TLS; {
	case c == nil:
	case (o.Certificates != nil || o.Issuer != nil) && (c.GetCertificate != nil || len(c.Certificates) > 0):
		return errors.New("edge: TLS has certificates of its own beside Certificates or Issuer: want them in one of the two")
	case c.MaxVersion != 0 && c.MaxVersion < tls.VersionTLS12:
		return errors.New("edge: TLS.MaxVersion is below TLS 1.2, which is the least: no handshake would succeed")
	case c.ClientAuth >= tls.VerifyClientCertIfGiven && c.ClientCAs == nil && c.VerifyConnection == nil && c.VerifyPeerCertificate == nil:
		return errors.New("edge: TLS verifies client certificates and has no ClientCAs: want the authority that signs them, or every certificate of a public one lets in")
	}
	return nil
}

func (o *Options) secure() bool { return o.TLS != nil || o.Certificates != nil || o.Issuer != nil }

// tlsConfig returns what the server handshakes with, or nil.
func (o *Options) tlsConfig() *tls.Config {
	if !o.secure() {
		return nil
	}
	c := &tls.Config{}
	if o.TLS != nil {
		c = o.TLS.Clone()
	}
	o.complete(c)
	return c
}

// complete adds to c what holds for every handshake.
func (o *Options) complete(c *tls.Config) {
	if (o.Certificates != nil || o.Issuer != nil) && c.GetCertificate == nil && len(c.Certificates) == 0 {
		c.GetCertificate = o.certificate
	}
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	protos := []string{"h2", "http/1.1"}
	if o.Issuer != nil {
		protos = append(protos, acmeProtocol)
	}
	for _, proto := range protos {
		if !slices.Contains(c.NextProtos, proto) {
			c.NextProtos = append(slices.Clip(c.NextProtos), proto)
		}
	}
}

// head bounds the heads of requests.
func (o *Options) head() http1.Limits {
	l := o.Limits
	return http1.Limits{Target: l.Target, Size: l.Headers, Fields: l.Fields, Cookies: cookiesPerField * l.Fields}
}

// tick is how late a limit of time may be noticed.
func (o *Options) tick() time.Duration {
	tick := time.Second
	for _, limit := range []time.Duration{o.Limits.Header, o.Limits.Idle, o.Limits.TrustedIdle, o.Limits.BodyStall, o.Limits.WriteStall, o.Limits.UpgradeIdle} {
		if limit > 0 {
			tick = min(tick, max(limit/8, time.Millisecond))
		}
	}
	return tick
}
