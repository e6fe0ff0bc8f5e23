package edge

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/transit"
)

// stats are a server's figures.
type stats struct {
	conns, requests atomic.Uint64
	instant         atomic.Uint64 // requests answered from their heads
	blocked         atomic.Uint64 // requests of clients that are blocked
	open, inFlight  atomic.Int64
	classes         [6]atomic.Uint64 // by the status's first digit
	gone            atomic.Uint64
	sent            atomic.Uint64 // of bodies, in bytes
	shaken          atomic.Uint64 // TLS handshakes that were done
	resumed         atomic.Uint64 // of these, those that went on from another's
	unshaken        atomic.Uint64 // those that failed
}

func (s *stats) status(status int, gone bool) {
	if gone {
		s.gone.Add(1)
		return
	}
	if class := status / 100; class > 0 && class < len(s.classes) {
		s.classes[class].Add(1)
	}
}

// Report implements [health.Reporter].
func (s *Server) Report() health.Report {
	responses := func(class string, n uint64) health.Metric {
		return health.Count("responses_total", "Responses ended, by the class of their status, or gone if their client left first.", n,
			health.Label{Name: "class", Value: class})
	}
	sent := health.Count("sent_bytes_total", "Sent bytes of bodies, as far as handlers wrote them.", s.stats.sent.Load())
	sent.Unit = "bytes"
	out := health.Report{Kind: "edge", Name: s.opts.Name, State: health.Up, Metrics: []health.Metric{
		health.Count("connections_total", "Connections accepted.", s.stats.conns.Load()),
		health.Level("connections_open", "Connections that are open and not upgraded.", "", float64(s.stats.open.Load())),
		health.Level("connections_upgraded", "Connections that are open and upgraded.", "", float64(s.upgrades.count())),
		health.Level("streams_upgraded", "Streams of HTTP/2 that are upgraded: websockets.", "", float64(s.h2.Tunnels())),
		health.Count("connections_closed_idle_total", "Connections that were idle and closed to make room for others.", s.crowd.closedIdle.Load()),
		health.Count("connections_refused_total", "Connections closed at once, beyond the limits.", s.crowd.refused.Load()),
		health.Count("requests_total", "Requests begun.", s.stats.requests.Load()),
		health.Count("requests_instant_total", "Requests answered from what is known of their like, without the handler.", s.stats.instant.Load()),
		health.Count("requests_blocked_total", "Requests of clients that are blocked.", s.stats.blocked.Load()),
		health.Level("requests_in_flight", "Requests begun and not ended.", "", float64(s.stats.inFlight.Load())),
		sent,
		responses("gone", s.stats.gone.Load()),
	}}
	if s.tls != nil {
		out.Metrics = append(out.Metrics,
			health.Count("handshakes_total", "Handshakes of TLS that were done.", s.stats.shaken.Load()),
			health.Count("handshakes_resumed_total", "Handshakes of these that resumed a session.", s.stats.resumed.Load()),
			health.Count("handshakes_failed_total", "Handshakes of TLS that failed.", s.stats.unshaken.Load()))
	}
	for class := 1; class < len(s.stats.classes); class++ {
		out.Metrics = append(out.Metrics, responses(string('0'+rune(class))+"xx", s.stats.classes[class].Load()))
	}
	if s.lines != nil {
		out.Parts = append(out.Parts, s.lines.Report())
	}
	var why []string
	if err := s.Ready(); err != nil {
		out.State, why = health.Degraded, append(why, err.Error())
	}
	s.mu.Lock()
	failed := s.failed
	s.mu.Unlock()
	if len(failed) > 0 {
		out.State, why = health.Degraded, append(why, failed...)
	}
	if s.opts.Certificates != nil {
		if w := s.opts.Certificates.warning(time.Now()); w != "" {
			out.State, why = health.Degraded, append(why, w)
		}
	}
	if s.opts.Issuer != nil {
		issued := s.opts.Issuer.Report()
		if issued.State != health.Up {
			out.State, why = health.Degraded, append(why, issued.Why)
		}
		out.Parts = append(out.Parts, issued)
	}
	if s.opts.HTTP3 != nil {
		out.Parts = append(out.Parts, s.opts.HTTP3.Report())
	}
	out.Why = strings.Join(why, "; ")
	return out
}

// Wraps returns the handler.
func (s *Server) Wraps() []http.Handler { return []http.Handler{s.handler} }

// Explain tells with what the server would answer r by itself, or else what the
// handler would do with it, coming from the client whom the server believes.
func (s *Server) Explain(r *http.Request) health.Decision {
	asked, rec := transit.Aside(r)
	if asked.Header = r.Header.Clone(); asked.Header == nil {
		asked.Header = make(http.Header)
	}
	peer := transit.Peer(r)
	if no := s.admit(asked, rec, peer, within(s.opts.Trusted, peer), false); no != nil {
		return health.Decision{Part: "edge", Verdict: strconv.Itoa(no.status), Why: no.cause.Error()}
	}
	return health.Explain(s.handler, asked)
}
