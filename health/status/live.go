package status

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	liveEvery   = 500 * time.Millisecond // or so seldom that it takes liveShare, with all readers
	liveShare   = 0.004                  // of one processor, by the clock; collecting its garbage takes as much again
	liveLeast   = 10 * time.Second
	mostReaders = 16 // at once
	readerStall = 10 * time.Second
)

// live is what all who look are shown. Its zero value is ready, and its methods are safe
// for concurrent use.
type live struct {
	mu   sync.Mutex
	busy bool             // guarded by mu: somebody makes text
	at   time.Time        // guarded by mu: when text was made
	took [4]time.Duration // guarded by mu: what the latest have taken to make; 0: none yet
	text []byte           // guarded by mu
}

// latest returns what is shown, which show makes anew if the last is as old as that, and
// how long it takes to make: as the least of the latest have, since the others may have
// waited for a processor, and nothing until there are some.
func (l *live) latest(now time.Time, age time.Duration, show func() []byte) (text []byte, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text == nil || !l.busy && now.Sub(l.at) >= age {
		l.makeLocked(now, show)
	}
	return l.text, slices.Min(l.took[:])
}

// makeLocked has text made, without the lock.
func (l *live) makeLocked(now time.Time, show func() []byte) {
	l.busy = true
	l.mu.Unlock()
	var text []byte // none, if a part panics
	defer func() {
		l.mu.Lock()
		if l.busy = false; text != nil {
			copy(l.took[:], l.took[1:])
			l.text, l.at, l.took[len(l.took)-1] = text, now, time.Since(now)
		}
	}()
	text = show()
}

// pause is how long to wait between reports that take so long to make, and so long to send
// to each of so many readers.
func pause(make, send time.Duration, readers int32) time.Duration {
	all := float64(make) + float64(send)*float64(readers)
	return min(max(liveEvery, time.Duration(all/liveShare)), liveLeast)
}

// show returns what is shown now.
func (h *Handler) show() []byte {
	now := moment{time.Now(), h.Report()}
	return h.viewOf(now, h.past.since()).text()
}

// events answers with what is shown, again and again (server-sent events, WHATWG HTML,
// section 9.2), and with the plots and then their next points, until its reader goes or
// takes nothing any more.
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
	wait, ticks := liveEvery, 0
	for {
		h.past.tick(time.Now(), h.Report)
		text, made := h.live.latest(time.Now(), wait-wait/8, h.show)
		began := time.Now()
		_ = out.SetWriteDeadline(began.Add(readerStall)) // where none can be set, its server has one
		var err error
		if ticks, err = h.sendPlots(w, ticks); err == nil {
			_, err = fmt.Fprintf(w, "data: %s\n\n", text)
		}
		if err != nil || out.Flush() != nil {
			return
		}
		wait = pause(made, min(time.Since(began), made), h.readers.Load()) // a slow reader is no work
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
			return
		}
	}
}

// plots are what is sent of the past.
type plots struct {
	Step  float64                 `json:"step"`  // in seconds
	Parts map[string][2][]float32 `json:"parts"` // by path: rates, and times that all but one in a hundred take
}

// sendPlots sends the plots to who has none, and else the points since those of so many
// ticks, and returns how many ticks there were.
func (h *Handler) sendPlots(w http.ResponseWriter, had int) (ticks int, err error) {
	curves, ticks := h.past.curves(had)
	if ticks == had {
		return had, nil
	}
	text, err := json.Marshal(plots{step.Seconds(), curves})
	if err != nil {
		return had, err
	}
	_, err = fmt.Fprintf(w, "event: plots\ndata: %s\n\n", text)
	return ticks, err
}
