package status

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// mostForm is how much an order may take, in bytes.
const mostForm = 16 << 10

// keepOrders is how many orders a report shows.
const keepOrders = 50

// act does what a person has ordered: the form's verb, to part of the part of that kind
// and name, if that lists it.
func (h *Handler) act(w http.ResponseWriter, r *http.Request) {
	if err := h.opts.Act(r); err != nil {
		if others, ok := h.refused.Allow(time.Now()); ok {
			h.opts.Logger.LogAttrs(r.Context(), slog.LevelWarn, "act refused", slog.String("from", r.RemoteAddr), slog.Any("cause", err), slog.Int("others", others))
		}
		answer(w, http.StatusForbidden, fmt.Errorf("status: you may not steer: %w", err))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, mostForm)
	if err := r.ParseForm(); err != nil {
		answer(w, http.StatusBadRequest, fmt.Errorf("status: %w", err))
		return
	}
	f := r.PostForm
	o := order{f.Get("kind"), f.Get("name"), f.Get("part"), f.Get("verb"), f.Get("arg")}
	actor, err := h.actor(o)
	if err == nil {
		err = actor.Act(r.Context(), o.part, o.verb, o.arg)
	}
	h.tell(r, o, err)
	if err != nil {
		answer(w, http.StatusConflict, err)
		return
	}
	answer(w, http.StatusOK, nil)
}

// An order is what a person wants done.
type order struct{ kind, name, part, verb, arg string }

// String is what was ordered as an event has it.
func (o order) String() string {
	words := []string{o.verb, o.arg, "of " + o.kind, o.name}
	if o.part != o.name {
		words = []string{o.verb, o.part, o.arg, "of " + o.kind, o.name}
	}
	words = slices.DeleteFunc(words, func(s string) bool { return s == "" })
	return transit.Clip(strings.Join(words, " "))
}

// tell logs and remembers what became of an order of r's.
func (h *Handler) tell(r *http.Request, o order, err error) {
	level, event := slog.LevelInfo, health.Event{Time: time.Now(), Text: o.String() + ", by " + r.RemoteAddr}
	attrs := []slog.Attr{slog.String("verb", o.verb), slog.String(kindOr(o.kind), o.name), slog.String("of", o.part), slog.String("arg", o.arg), slog.String("from", r.RemoteAddr)}
	if err != nil {
		level = slog.LevelWarn
		attrs = append(attrs, slog.Any("cause", err))
		event.Text += ", refused: " + transit.Clip(err.Error())
	}
	event.Text = strings.ToValidUTF8(event.Text, "?")
	h.opts.Logger.LogAttrs(r.Context(), level, "act", attrs...)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.orders) == keepOrders {
		h.orders = h.orders[1:]
	}
	h.orders = append(h.orders, event)
}

// kindOr is a key for a log, whatever was sent.
func kindOr(kind string) string {
	if fields.Token(kind) {
		return kind
	}
	return "kind"
}

// actor returns who does what is ordered.
func (h *Handler) actor(o order) (health.Actor, error) {
	for _, reporter := range h.reporters {
		report := reporter.Report()
		if report.Kind != o.kind || report.Name != o.name {
			continue
		}
		actor, ok := reporter.(health.Actor)
		does := []string{"nothing"}
		for _, of := range append(slices.Clone(report.Parts), report) {
			if !ok || of.Name != o.part {
				continue
			}
			if slices.Contains(of.Verbs, o.verb) {
				return actor, nil
			}
			if len(of.Verbs) > 0 {
				does = of.Verbs
			}
		}
		return nil, fmt.Errorf("status: %s %q does no %q to %q: it does %s", o.kind, o.name, o.verb, o.part, strings.Join(does, ", "))
	}
	return nil, fmt.Errorf("status: there is no %s %q: /status.json lists all parts, with their verbs", o.kind, o.name)
}
