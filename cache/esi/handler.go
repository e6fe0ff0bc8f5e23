package esi

import (
	"maps"
	"net/http"
	"sync/atomic"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/transit"
)

// handler is one handler whose pages are composed.
type handler struct {
	processor *Processor
	next      http.Handler
	tells     bool // next tells backends of us itself
	marks     marks
	never     atomic.Uint64 // the generation of what an edge may learn: it never changes
}

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, rec, made := transit.Enter(r)
	if made {
		defer transit.Log(h.processor.opts.Logger, h.processor.opts.Name, r, rec)
	}
	taught := rec.Lesson.Takes(h)
	mark := h.processor.markOf(r)
	how, _ := wayOf(r, h.marks.has(mark), rec.Composes != "")
	if how == untouched {
		h.next.ServeHTTP(w, r)
		return
	}
	rec.Composes = h.processor.capability
	defer func() { rec.Composes = "" }() // whoever asks another handler then has it composed there
	if taught && how == asItIs {
		rec.Lesson.Pass(transit.Stage{Generation: &h.never}, h.next)
	}
	var before http.Header
	if len(w.Header()) > 0 {
		before = maps.Clone(w.Header())
	}
	out := h.serve(w, r, rec, how, mark)
	if out.act == again {
		h.processor.figures.repeated.Add(1)
		restore(w.Header(), before)
		rec.Unproven, rec.Hit = false, false // were the first answer's
		rec.Lesson.Answer(nil)
		how = plain
		out = h.serve(w, r, rec, how, mark)
	}
	switch {
	case out.act != pass:
		rec.Lesson.Answer(nil) // its like is not to be answered without us
		rec.Hit = false
		rec.Note("esi", out.note())
	case how == plain && r.Method == http.MethodGet && out.status == http.StatusOK:
		h.marks.clear(mark)
	}
}

// serve has r answered once, by whoever is below.
func (h *handler) serve(w http.ResponseWriter, r *http.Request, rec *transit.Record, how way, mark uint64) *writer {
	down := h.onward(r, how)
	out := &writer{ResponseWriter: w, handler: h, asked: r, down: down, how: how, front: rec.Front, mark: mark, above: w.Header()["Content-Encoding"]}
	whole := false
	defer func() {
		if !whole && out.page != nil {
			out.page.abort()
		}
	}()
	h.next.ServeHTTP(out, down)
	out.end()
	whole = true
	return out
}

// restore makes a header what it was.
func restore(h, was http.Header) {
	clear(h)
	maps.Copy(h, was)
}

// Explain implements [health.Explainer]. Who lies below is asked about what it would
// be sent.
func (h *handler) Explain(r *http.Request) health.Decision {
	r, rec := transit.Aside(r)
	how, why := wayOf(r, h.marks.has(h.processor.markOf(r)), rec.Composes != "")
	d := health.Decision{Part: "esi", Why: why}
	switch how {
	case untouched:
		d.Verdict = "passes"
		d.Next = []health.Decision{health.Explain(h.next, r)}
		return d
	case plain:
		d.Verdict = "composes"
		d.Steps = []string{"asked for without codings, ranges and conditions"}
	case asItIs:
		d.Verdict = "may compose"
	}
	rec.Composes = h.processor.capability
	d.Next = []health.Decision{health.Explain(h.next, h.onward(r, how))}
	return d
}

// onward returns r as it goes down. Nearly all that go as they are are answered by
// what is stored: whoever is below tells the backend of us then, and nothing is copied.
func (h *handler) onward(r *http.Request, how way) *http.Request {
	if h.tells && how == asItIs {
		return r
	}
	down := new(http.Request)
	*down = *r
	down.Header = onward(r, how, h.processor.capability)
	return down
}

// Healthy reports whether what lies below could serve r now.
func (h *handler) Healthy(r *http.Request) bool { return health.Healthy(h.next, r) }

// Wraps returns what lies below.
func (h *handler) Wraps() []http.Handler { return []http.Handler{h.next} }
