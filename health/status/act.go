package status

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
)

// mostForm is how much an order may take, in bytes.
const mostForm = 16 << 10

// act does what a person has ordered: the form's verb, to part of the part of that kind
// and name, if that lists it.
func (h *Handler) act(w http.ResponseWriter, r *http.Request) {
	if err := h.opts.Act(r); err != nil {
		answer(w, http.StatusForbidden, fmt.Errorf("status: you may not steer: %w", err))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, mostForm)
	if err := r.ParseForm(); err != nil {
		answer(w, http.StatusBadRequest, fmt.Errorf("status: %w", err))
		return
	}
	f := r.PostForm
	kind, name, part, verb := f.Get("kind"), f.Get("name"), f.Get("part"), f.Get("verb")
	actor, err := h.actor(kind, name, part, verb)
	if err == nil {
		err = actor.Act(r.Context(), part, verb, f.Get("arg"))
	}
	log, level := h.opts.Logger, slog.LevelInfo
	if err != nil {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{slog.String("verb", verb), slog.String(kindOr(kind), name), slog.String("of", part), slog.String("arg", f.Get("arg")), slog.String("from", r.RemoteAddr)}
	if err != nil {
		attrs = append(attrs, slog.Any("cause", err))
	}
	log.LogAttrs(r.Context(), level, "act", attrs...)
	if err != nil {
		answer(w, http.StatusConflict, err)
		return
	}
	answer(w, http.StatusOK, nil)
}

// kindOr is a key for a log, whatever was sent.
func kindOr(kind string) string {
	if fields.Token(kind) {
		return kind
	}
	return "kind"
}

// actor returns who does verb to a part of the part of that kind and name.
func (h *Handler) actor(kind, name, part, verb string) (health.Actor, error) {
	for _, reporter := range h.reporters {
		report := reporter.Report()
		if report.Kind != kind || report.Name != name {
			continue
		}
		actor, ok := reporter.(health.Actor)
		for _, of := range append(slices.Clone(report.Parts), report) {
			if ok && of.Name == part && slices.Contains(of.Verbs, verb) {
				return actor, nil
			}
		}
		return nil, fmt.Errorf("status: %s %q does no %q to %q", kind, name, verb, part)
	}
	return nil, fmt.Errorf("status: there is no %s %q", kind, name)
}
