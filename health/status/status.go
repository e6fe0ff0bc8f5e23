// Package status shows how a tier is: it renders the reports of its parts and
// knows no feature by name, so a user's own part appears like any other.
//
//	page, err := status.New([]health.Reporter{origin, apps, pages, front, srv}, status.Options{Ready: srv.Ready, Explain: srv})
//	...
//	l, err := net.Listen("tcp", "127.0.0.1:8081")
//	...
//	srv.Run(ctx, origin, apps, pages, page, status.Server{Listener: l, Handler: page})
//
// A person opens http://127.0.0.1:8081/ and sees each part with its state and why, its
// figures and how they have moved in the latest 15 minutes, live for as long as the page is
// open; and asks what would become of a request. Who may, steers from there, or over a
// socket of the machine: see [Options.Act], [ListenUnix] and [OverSocket].
//
// It answers to whoever reaches it: listen on loopback or a private network. A
// browser there can be made to reach it by a stranger's page, whose name then
// leads to its address; so the report is given under its own names alone.
package status

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/given"
	"github.com/foretier/foretier/internal/transit"
)

// Options for [New]. The zero value is valid.
type Options struct {
	// Name stands at the top of the report; empty means the host's name.
	Name string
	// Ready returns why the tier should get no new connections, or nil. A nil
	// Ready is always ready.
	Ready func() error
	// Explain is the front that the page asks what it would do with a request: the
	// edge's server, or a router. It tells who asks what rules, caches and pools
	// there are, as the report does. Nil means that the page does not ask.
	Explain http.Handler
	// Act returns nil if who sends r may steer: drain a backend or purge a cache, for
	// two. It is asked for each order, which no page of another origin can have sent
	// (see [http.CrossOriginProtection]), and is safe for concurrent use. r.RemoteAddr,
	// which it may set to whoever it has found out that r is from, is told in the log
	// and on the page. Nil means that nobody may.
	Act func(r *http.Request) error
	// Logger gets a line for each order, and some of those who may not give any. Nil means slog.Default().
	Logger *slog.Logger
	// Metrics answers /metrics: that of package health/metrics, for Prometheus. Nil
	// means that there is no such page.
	Metrics http.Handler
	// Hosts are further names and addresses, without port, under which the
	// report may be asked for: those that lead here by a name server of the
	// reader's, or through a proxy. Always allowed are localhost, the host's
	// name and the machine's own addresses.
	Hosts []string
}

// A Handler answers
//
//   - /healthz with 200 as long as the process serves at all,
//   - /readyz with 200 or, while starting or draining, 503 and the reason,
//   - /status.json with the reports of all parts,
//   - / with a page that shows them, /events with what moves it, in a form of the page's
//     own,
//   - /explain?method=GET&url=…&cookie=…&client=…&header=… by [Options.Explain], with a
//     [health.Decision],
//   - /metrics by [Options.Metrics],
//   - POST /act with a form of kind, name, part, verb and arg by doing what it says, if
//     [Options.Act] allows it: [health.Actor].
//
// But for the first two it answers with 421 if Host is none of its own (RFC 9110,
// section 15.5.20).
//
// The first two tell nothing, and answer to any Host: balancers send many.
//
// It is safe for concurrent use.
type Handler struct {
	opts      Options
	reporters []health.Reporter
	mux       *http.ServeMux
	names     []string // under which it may be asked, in lower case
	readers   atomic.Int32
	past      past
	live      live
	refused   transit.Lines // of the log: orders of who may not steer

	mu     sync.Mutex
	orders []health.Event // guarded by mu: the latest
}

// New returns a Handler that renders the reports of parts, in their order. Two
// parts of one kind and name are an error, also two within one part: nobody could
// tell them, or their metrics, apart. So is a nil part.
//
// It goes by what the parts report when it is called. A part that later reports
// under another's kind and name is shown beside it: the page is needed most when
// something is wrong.
func New(parts []health.Reporter, opts Options) (*Handler, error) {
	reports := make([]health.Report, len(parts))
	for i, part := range parts {
		if given.Nil(part) {
			return nil, fmt.Errorf("status: part %d is a nil %T: the constructor that returned it has failed", i, part)
		}
		reports[i] = part.Report()
	}
	if given.Typed(opts.Explain) {
		return nil, fmt.Errorf("status: Explain is a nil %T: the constructor that returned it has failed", opts.Explain)
	}
	if err := toldApart(reports); err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	opts.Logger = cmp.Or(opts.Logger, slog.Default())
	if opts.Name == "" {
		// Without a name the report stands unnamed.
		opts.Name, _ = os.Hostname()
	}
	names, err := ownNames(opts.Hosts)
	if err != nil {
		return nil, err
	}
	h := &Handler{opts: opts, reporters: append([]health.Reporter(nil), parts...), mux: http.NewServeMux(), names: names, refused: transit.Lines{Burst: 5}}
	h.mux.HandleFunc("GET /healthz", h.healthz)
	h.mux.HandleFunc("GET /readyz", h.readyz)
	h.mux.HandleFunc("GET /status.json", h.own(h.json))
	h.mux.HandleFunc("GET /{$}", h.own(h.page))
	h.mux.HandleFunc("GET /events", h.own(h.events))
	if opts.Explain != nil {
		h.mux.HandleFunc("GET /explain", h.own(h.explain))
	}
	if opts.Act != nil {
		h.mux.Handle("POST /act", http.NewCrossOriginProtection().Handler(h.own(h.act)))
	}
	if opts.Metrics != nil {
		h.mux.HandleFunc("GET /metrics", h.own(opts.Metrics.ServeHTTP))
	}
	return h, nil
}

// toldApart says which two of reports, or of the parts of one of them, are of one
// kind and name.
func toldApart(reports []health.Report) error {
	seen := make(map[[2]string]bool)
	for _, r := range reports {
		if seen[[2]string{r.Kind, r.Name}] {
			return fmt.Errorf("two parts are %s %q: want a name of its own for each, in their Options", r.Kind, r.Name)
		}
		seen[[2]string{r.Kind, r.Name}] = true
		if err := toldApart(r.Parts); err != nil {
			return fmt.Errorf("%s %q: %w", r.Kind, r.Name, err)
		}
	}
	return nil
}

// Wraps returns nothing: the page reaches no backend.
func (h *Handler) Wraps() []http.Handler { return nil }

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fields.CacheControl(w.Header(), "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	h.mux.ServeHTTP(w, r)
}

// Report implements [health.Reporter]: the tier is as bad as its worst part.
// A part that nobody has judged yet does not make it worse than up. Its events are the
// orders that were given here.
func (h *Handler) Report() health.Report {
	h.mu.Lock()
	tier := health.Report{Kind: "tier", Name: h.opts.Name, State: health.Up, Events: slices.Clone(h.orders)}
	h.mu.Unlock()
	for _, r := range h.reporters {
		part := r.Report()
		tier.Parts = append(tier.Parts, part)
		if part.State > tier.State {
			tier.State, tier.Why = part.State, part.Kind+" "+part.Name
			if part.Why != "" {
				tier.Why += ": " + part.Why
			}
		}
	}
	return tier
}

func (h *Handler) healthz(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, nil)
}

func (h *Handler) readyz(w http.ResponseWriter, _ *http.Request) {
	if h.opts.Ready != nil {
		if err := h.opts.Ready(); err != nil {
			answer(w, http.StatusServiceUnavailable, err)
			return
		}
	}
	answer(w, http.StatusOK, nil)
}

func answer(w http.ResponseWriter, status int, why error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	if why == nil {
		why = errors.New("ok")
	}
	// The prober may be gone: nothing is left to tell anybody.
	_, _ = w.Write([]byte(why.Error() + "\n"))
}

// own answers by next what is asked for under the server's own names.
func (h *Handler) own(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !h.isOwn(r) {
			answer(w, http.StatusMisdirectedRequest, fmt.Errorf("status: %q is no name of this server: want localhost, its address, or one of Options.Hosts", r.Host))
			return
		}
		next(w, r)
	}
}

func (h *Handler) json(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(h.shown()) // a failed write means that the reader is gone
}

// A shown is what a report is read as.
type shown struct {
	Time     time.Time `json:"time"`
	Explains bool      `json:"explains,omitempty"` // the page may ask what becomes of a request
	Acts     bool      `json:"acts,omitempty"`     // somebody may steer
	health.Report
}

func (h *Handler) shown() shown {
	return shown{time.Now(), h.opts.Explain != nil, h.opts.Act != nil, h.Report()}
}
