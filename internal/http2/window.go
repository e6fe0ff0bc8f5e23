package http2

import "math"

// A Window is how much may be sent (RFC 9113, section 6.9). It may be negative, once the
// peer has lowered what streams begin with.
type Window int32

// Take takes n bytes, or as many as there are, and returns how many.
func (w *Window) Take(n int) int {
	n = min(n, max(int(*w), 0))
	*w -= Window(n)
	return n
}

// Add adds n bytes, and reports whether the window can be that large.
func (w *Window) Add(n int32) bool {
	if sum := int64(*w) + int64(n); sum > math.MaxInt32 || sum < math.MinInt32 {
		return false
	}
	*w += Window(n)
	return true
}

// An Intake is the window of what is received: how much the peer may send, and how much
// was used of what it has sent and is not told to it yet.
type Intake struct {
	size int32 // of all
	left int32 // that the peer may send
	used int32 // that it may send once it is told
}

// NewIntake returns one of which the peer knows that it may send size bytes.
func NewIntake(size int32) Intake { return Intake{size: size, left: size} }

// Take counts n bytes that have come, and reports whether they may.
func (i *Intake) Take(n int) bool {
	if int64(n) > int64(i.left) {
		return false
	}
	i.left -= int32(n)
	return true
}

// Left is how much the peer may send, as far as it knows.
func (i *Intake) Left() int { return int(i.left) }

// Used counts n bytes that were used, and returns how many the peer is to be told of now:
// none until it is half of all.
func (i *Intake) Used(n int) (tell int32) {
	if i.used += int32(n); i.used < i.size/2 {
		return 0
	}
	tell, i.used = i.used, 0
	i.left += tell
	return tell
}
