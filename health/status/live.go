package status

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	liveEvery   = 500 * time.Millisecond // or so seldom that all readers together take liveShare
	liveShare   = 0.01                   // of one processor
	liveLeast   = 10 * time.Second
	mostReaders = 16 // at once
	readerStall = 10 * time.Second
)

// events answers with the report again and again (server-sent events, WHATWG HTML,
// section 9.2), until its reader goes or takes nothing any more.
func (h *Handler) events(w http.ResponseWriter, r *http.Request) {
	if h.readers.Add(1) > mostReaders {
		h.readers.Add(-1)
		answer(w, http.StatusServiceUnavailable, fmt.Errorf("status: %d pages are open already", mostReaders))
		return
	}
	defer h.readers.Add(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(w)
	for {
		began := time.Now()
		report, err := json.Marshal(h.shown())
		if err != nil {
			report, _ = json.Marshal(map[string]string{"why": err.Error()})
		}
		took := time.Since(began)
		_ = out.SetWriteDeadline(time.Now().Add(readerStall)) // where none can be set, its server has one
		if _, err := fmt.Fprintf(w, "data: %s\n\n", report); err != nil || out.Flush() != nil {
			return
		}
		select {
		case <-time.After(pause(took, h.readers.Load())):
		case <-r.Context().Done():
			return
		}
	}
}

// pause is how long to wait between reports that each take so long, for so many readers.
func pause(took time.Duration, readers int32) time.Duration {
	return min(max(liveEvery, time.Duration(float64(took)*float64(readers)/liveShare)), liveLeast)
}
