package health

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/foretier/foretier/internal/fields"
)

// ErrTurnedAway is wrapped by a probe's error if the backend is there and does
// not serve the probe: a password that was changed, no connection left for it,
// a certificate that is not believed. It is evidence about the probe and not
// about the backend, which is [Degraded] after [Schedule.Fall] of them, never
// [Down], and keeps the role that it was last seen in.
var ErrTurnedAway = errors.New("the probe is turned away")

// A Probe asks a backend how it is.
//
// Probe returns an error when the backend could not be asked or did not answer
// at all, and one that wraps [ErrTurnedAway] when it answered that it does not
// serve the probe; an answer that it is unwell is a [Result] whose State is
// [Degraded].
// It is called from several goroutines, never twice at once for one target,
// and must return soon after ctx ends.
type Probe interface {
	Probe(ctx context.Context, target Target) (Result, error)
}

// ProbeFunc lets a function be a [Probe].
type ProbeFunc func(context.Context, Target) (Result, error)

// Probe implements [Probe].
func (f ProbeFunc) Probe(ctx context.Context, t Target) (Result, error) { return f(ctx, t) }

// A Target is what a probe asks.
type Target struct {
	Name string   // the backend's
	URL  *url.URL // scheme http, https, h2c, fcgi, unix, tcp or tls; not to be modified
	TLS  *tls.Config
	// Preface is what a connection begins with, before TLS: a header of the
	// PROXY protocol. Empty: nothing. Not to be modified.
	Preface []byte
	// Transport reaches a backend that has no address, a handler in this
	// process. It is nil for a backend that is reached over the network: a
	// probe then opens a connection of its own, because that is part of what
	// it wants to know.
	Transport http.RoundTripper
}

// Address returns the host and port of the target's URL, with the port that
// its scheme implies; for a socket of this machine its path.
func (t Target) Address() string {
	if t.local() {
		return t.URL.Path
	}
	if port := t.URL.Port(); port != "" {
		return t.URL.Host
	}
	if t.URL.Scheme == "https" {
		return net.JoinHostPort(t.URL.Hostname(), "443")
	}
	return net.JoinHostPort(t.URL.Hostname(), "80")
}

// local reports whether the target is a socket of this machine.
func (t Target) local() bool { return t.URL.Host == "" && t.URL.Path != "" }

// A Result is what a probe learned.
type Result struct {
	State State  // Up or Degraded; Unknown counts as Up
	Note  string // in a few words, for people: "503 Service Unavailable"
	// Weight is the share of its configured weight that the backend asks for,
	// for three minutes from now: 0.5 is half, and more than ten is ten. 0: it
	// did not say; for none there is LastResort.
	Weight float64
	// LastResort says that it can serve, and asks to be used only where no
	// backend is left that does not: it is [Degraded] for as long as it says so.
	LastResort bool
	// Drain says that it wants to serve only those that are bound to it, and
	// then end. Where nobody else is left it is used all the same.
	Drain bool

	// Role is what the backend is beside the others: [RolePrimary],
	// [RoleReplica] or [RolePeer]. Empty: it has none.
	Role string
	// Epoch grows with each change of the primary, if somebody counts them:
	// who claims a lower one is a primary of former times. 0: nobody counts.
	Epoch   uint64
	Lag     time.Duration // how far a replica is behind
	Started time.Time     // when the backend's process began, to a second and a half; zero: not told
	// Instance tells one start of the backend's process from another, however
	// its clock is set: where it is told, Started is not looked at. Empty: not
	// told.
	Instance string
}

// HTTP returns a probe that sends GET path and wants an answer from 200 to 299.
// A field Backend-Weight in it, such as 0.5 or 50%, asks for that share of the
// configured weight; 0, and what is no such number, for none while another
// backend can serve.
func HTTP(path string) *HTTPProbe { return &HTTPProbe{Path: path} }

// HTTPProbe asks over HTTP, on a connection of its own. Redirects are not
// followed: to be sent elsewhere is no sign of health. A target for connections,
// tcp or tls, is asked in HTTP or HTTPS. Set its fields before use.
type HTTPProbe struct {
	Path  string // with a query if need be; empty: "/"
	Host  string // the Host field; empty: the host and port that are asked
	Proto string // X-Forwarded-Proto; empty: "https" for those who would redirect otherwise
	// Port is another than the target's on which the check listens, such as
	// Patroni's 8008 or clustercheck's 9200, in plain HTTP unless Secure is
	// set. 0: the target's own. A target with a Transport has no ports.
	Port   int
	Secure bool // Port speaks TLS, by the target's configuration
	// Drain takes a 404 after a success for the wish to be drained: a deploy
	// begins with the removal of the file that is probed.
	Drain bool

	seen sync.Map // by URL: it has succeeded
}

// Validate says which field makes no sense: pools ask when they are made.
func (p *HTTPProbe) Validate() error {
	u, err := url.Parse(p.Path)
	switch {
	case err != nil || p.Path != "" && !strings.HasPrefix(p.Path, "/") || u.Host != "" || u.Fragment != "":
		return fmt.Errorf("health: probe path %q: want a path on the backend, such as /healthz", p.Path)
	case strings.ContainsAny(p.Host, "/ \r\n"):
		return fmt.Errorf("health: probe host %q: want a host, perhaps with a port", p.Host)
	case p.Proto != "" && p.Proto != "http" && p.Proto != "https":
		return fmt.Errorf("health: probe proto %q: want http or https", p.Proto)
	case p.Port < 0 || p.Port > 65535:
		return fmt.Errorf("health: HTTPProbe.Port is %d: want 1 to 65535, or 0 for the target's own", p.Port)
	case p.Secure && p.Port == 0:
		return errors.New("health: HTTPProbe.Secure is about Port: whether the target's own port speaks TLS, its URL says")
	}
	return nil
}

// url returns what is asked for at t.
func (p *HTTPProbe) url(t Target) (*url.URL, error) {
	ref, err := url.Parse(cmp.Or(p.Path, "/"))
	if err != nil {
		return nil, fmt.Errorf("health: probe path: %w", err)
	}
	u := httpURL(t)
	u.Path, u.RawPath, u.RawQuery = ref.Path, ref.RawPath, ref.RawQuery
	if p.Port != 0 && t.Transport == nil {
		u.Scheme, u.Host = "http", net.JoinHostPort(u.Hostname(), strconv.Itoa(p.Port))
		if p.Secure {
			u.Scheme = "https"
		}
	}
	return u, nil
}

// httpURL returns the target's URL with the scheme by which package http knows
// it.
func httpURL(t Target) *url.URL {
	if t.local() {
		return &url.URL{Scheme: "http", Host: "localhost"}
	}
	u := *t.URL
	switch u.Scheme {
	case "h2c", "fcgi", "tcp":
		u.Scheme = "http"
	case "tls":
		u.Scheme = "https"
	}
	return &u
}

// transport returns a way to the target itself for one request.
func (t Target) transport() *http.Transport {
	own := new(http.Transport)
	switch {
	case t.local():
		own.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return t.Dial(ctx, nil) }
	case len(t.Preface) > 0:
		own.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			t.URL = &url.URL{Scheme: "tcp", Host: t.URL.Host} // TLS is for the transport
			return t.Dial(ctx, nil)
		}
	}
	return own
}

// Probe implements [Probe].
func (p *HTTPProbe) Probe(ctx context.Context, t Target) (Result, error) {
	u, err := p.url(t)
	if err != nil {
		return Result{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Result{}, fmt.Errorf("health: probe: %w", err)
	}
	req.Host = p.Host
	req.Header.Set("User-Agent", "foretier-probe")
	req.Header.Set("X-Forwarded-Proto", cmp.Or(p.Proto, "https"))
	rt := t.Transport
	if rt == nil {
		own := new(http.Transport)
		if p.Port == 0 {
			own = t.transport()
		}
		own.TLSClientConfig, own.DisableKeepAlives, own.DisableCompression = t.TLS, true, true
		if t.URL.Scheme == "h2c" && p.Port == 0 {
			own.Protocols = new(http.Protocols)
			own.Protocols.SetUnencryptedHTTP2(true)
		}
		defer own.CloseIdleConnections()
		rt = own
	}
	res, err := rt.RoundTrip(req)
	if err != nil {
		return Result{}, fmt.Errorf("health: probe: %w", fields.Mute(err))
	}
	defer res.Body.Close()
	// Some servers log an error when nobody takes their answer.
	_, _ = io.CopyN(io.Discard, res.Body, 4<<10)
	note := fmt.Sprintf("%d %s", res.StatusCode, http.StatusText(res.StatusCode))
	if res.StatusCode == http.StatusNotFound && p.Drain {
		if _, ok := p.seen.Load(t.URL.String()); ok {
			return Result{State: Up, Note: note + ": to be drained", Drain: true}, nil
		}
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return Result{State: Degraded, Note: note}, nil
	}
	if p.Drain {
		p.seen.Store(t.URL.String(), true)
	}
	return weighted(Result{State: Up, Note: note}, res.Header.Get("Backend-Weight")), nil
}

// weighted reads a weight into r. Whoever says one asks for less than all as a
// rule, so that what is not understood is no full share.
func weighted(r Result, s string) Result {
	if s = strings.TrimSpace(s); s == "" {
		return r
	}
	number, percent := strings.CutSuffix(s, "%")
	w, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		w /= 100
	}
	switch {
	case err != nil || !(w >= 0) || math.IsInf(w, 0):
		r.LastResort = true
		r.Note += fmt.Sprintf(", Backend-Weight %.40q: want a number such as 0.5, or 50%%", s)
	case w == 0:
		r.LastResort = true
		r.Note += ", Backend-Weight 0"
	default:
		r.Weight = min(w, 10)
	}
	return r
}

// TCP returns a probe that is content when the target accepts a connection,
// and for a target of scheme tls or https completes the handshake. A server
// that counts connections which say nothing, as MySQL does with
// max_connect_errors, wants a probe that speaks its language.
func TCP() Probe { return ProbeFunc(probeTCP) }

func probeTCP(ctx context.Context, t Target) (Result, error) {
	if t.Transport != nil {
		return Result{State: Up, Note: "in this process"}, nil
	}
	conn, err := t.Dial(ctx, nil)
	if err != nil {
		return Result{}, fmt.Errorf("health: probe: %w", err)
	}
	// It has answered; how the connection ends says nothing more.
	_ = conn.Close()
	return Result{State: Up, Note: "accepts connections"}, nil
}

// Unreachable reports whether err shows that nobody was there: refused, no
// route, no such name, or no answer to the attempt to connect. It is hard
// evidence, and proof that no request was sent.
func Unreachable(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return true
	}
	var dns *net.DNSError
	return errors.As(err, &dns) ||
		errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
}
