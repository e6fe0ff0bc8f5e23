package main

import (
	"container/heap"
	"time"
)

// epoch is when every run begins.
var epoch = time.Unix(1_700_000_000, 0)

// An engine runs events in the order of their virtual times.
type engine struct {
	now    time.Duration // since epoch
	events queue
	seq    int
}

// at runs f at the virtual time t, or now if that is past.
func (e *engine) at(t time.Duration, f func()) {
	e.seq++
	heap.Push(&e.events, event{max(t, e.now), e.seq, f})
}

// after runs f in a while.
func (e *engine) after(d time.Duration, f func()) { e.at(e.now+d, f) }

// run runs the events up to the end.
func (e *engine) run(end time.Duration) {
	for len(e.events) > 0 && e.events[0].at <= end {
		ev := heap.Pop(&e.events).(event)
		e.now = ev.at
		ev.f()
	}
}

// clock returns the virtual time as the code under test wants it.
func (e *engine) clock() time.Time { return epoch.Add(e.now) }

type event struct {
	at  time.Duration
	seq int // of two at one moment, the one that was asked for first
	f   func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	ev := (*q)[last]
	(*q)[last] = event{}
	*q = (*q)[:last]
	return ev
}
