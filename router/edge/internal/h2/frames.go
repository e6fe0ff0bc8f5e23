package h2

import (
	"errors"
	"net/http"
	"strings"
	"time"

	x "golang.org/x/net/http2"

	"github.com/foretier/foretier/internal/http2"
)

// greet queues what a server says first: what it expects of the client, and how much it
// may send on the connection (RFC 9113, sections 3.4 and 6.9.2).
func (c *conn) greet() {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.bufferLocked()
	*b = http2.AppendSettings(*b,
		http2.Setting{ID: x.SettingMaxConcurrentStreams, Value: uint32(c.srv.Streams)},
		http2.Setting{ID: x.SettingInitialWindowSize, Value: streamWindow},
		http2.Setting{ID: x.SettingMaxHeaderListSize, Value: uint32(http2.MostBlock(&c.srv.Head))},
		http2.Setting{ID: x.SettingEnableConnectProtocol, Value: 1},
		http2.Setting{ID: settingNoPriorities, Value: 1},
	)
	*b = http2.AppendWindowUpdate(*b, 0, connWindow-http2.MinWindow)
	c.intake = http2.NewIntake(connWindow)
}

// settingNoPriorities says that only priorities of RFC 9218 are heard (section 2.1 there).
const settingNoPriorities http2.SettingID = 0x9

// next reads one frame, and does what it says.
func (c *conn) next() step {
	if !c.greeted {
		return c.hearPreface()
	}
	f, n, err := http2.ParseFrame(c.in.Bytes(), http2.MinFrame)
	if n == 0 && err == nil {
		return c.fill()
	}
	c.in.Discard(n)
	if err == nil {
		err = c.take(&f)
	} else if c.block.open { // within a block nothing else may come
		err = &http2.ConnError{Code: x.ErrCodeProtocol, Cause: err.Error()}
	}
	c.whole()
	return c.judge(err)
}

// judge does what an error asks for.
func (c *conn) judge(err error) step {
	var one *http2.StreamError
	if errors.As(err, &one) {
		err = c.reset(one)
	}
	if err == nil {
		return onward
	}
	no := &http2.ConnError{Code: x.ErrCodeInternal, Cause: err.Error()}
	_ = errors.As(err, &no)
	return c.refuse(no)
}

// hearPreface reads what a client says first.
func (c *conn) hearPreface() step {
	b := c.in.Bytes()
	n := min(len(b), len(http2.Preface))
	switch {
	case string(b[:n]) != http2.Preface[:n]:
		c.owner.Unread(http.StatusBadRequest, "no preface of HTTP/2", "")
		return over
	case n < len(http2.Preface):
		return c.fill()
	}
	c.in.Discard(n)
	c.greeted = true
	if !c.begun { // what was read came from elsewhere
		return c.begin()
	}
	return onward
}

// take does what a frame says (RFC 9113, section 6).
func (c *conn) take(f *http2.Frame) error {
	switch {
	case c.block.open && (f.Type != x.FrameContinuation || f.Stream != c.block.stream):
		return protocol("%v within the fields of stream %d", f.Type, c.block.stream)
	case !c.settled && f.Type != x.FrameSettings:
		return protocol("%v before SETTINGS", f.Type)
	}
	switch f.Type {
	case x.FrameHeaders:
		return c.takeHeaders(f)
	case x.FrameContinuation:
		if !c.block.open {
			return protocol("CONTINUATION of nothing")
		}
		return c.takeFields(f)
	case x.FrameData:
		return c.takeData(f)
	case x.FrameSettings:
		return c.takeSettings(f)
	case x.FrameWindowUpdate:
		return c.takeWindow(f)
	case x.FrameRSTStream:
		return c.takeReset(f)
	case x.FramePing:
		return c.takePing(f)
	case x.FramePriority:
		if f.Priority == f.Stream {
			return &http2.StreamError{Stream: f.Stream, Code: x.ErrCodeProtocol, Cause: "a stream that depends on itself"}
		}
	case http2.FramePriorityUpdate:
		return c.takePriority(f)
	}
	return c.pay(http2.CostFrame, f.Type) // GOAWAY, what says nothing any more, and what nobody knows
}

func (c *conn) takeSettings(f *http2.Frame) error {
	if f.Has(x.FlagSettingsAck) {
		return c.pay(http2.CostFrame, f.Type)
	}
	c.settled = true
	err := f.Settings(func(id http2.SettingID, value uint32) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch id {
		case x.SettingInitialWindowSize:
			return c.reopenLocked(int32(value))
		case x.SettingMaxFrameSize:
			c.peer.frame = min(int(value), http2.MinFrame)
		case x.SettingHeaderTableSize:
			c.peer.table = c.peer.table || value < tableSize
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	b := c.bufferLocked()
	*b = http2.AppendSettingsAck(*b)
	c.wakeLocked()
	c.mu.Unlock()
	return c.pay(http2.CostSettings, f.Type)
}

// reopenLocked changes what all streams begin with, and have begun with (RFC 9113, section
// 6.9.2).
func (c *conn) reopenLocked(initial int32) error {
	by := initial - c.peer.initial // both are not negative
	c.peer.initial = initial
	for _, s := range c.streams {
		if !s.window.Add(by) {
			return &http2.ConnError{Code: x.ErrCodeFlowControl, Cause: "a setting makes a window too large"}
		}
	}
	return nil
}

func (c *conn) takeWindow(f *http2.Frame) error {
	if err := c.pay(http2.CostWindow, f.Type); err != nil {
		return err
	}
	n := f.Increment()
	c.mu.Lock()
	defer c.mu.Unlock()
	window := &c.peer.window
	if f.Stream != 0 {
		s := c.streams[f.Stream]
		switch {
		case f.Stream > c.last:
			return protocol("WINDOW_UPDATE of a stream that is not there yet")
		case s == nil:
			return nil // it has ended meanwhile
		}
		window = &s.window
	}
	code, cause := x.ErrCodeProtocol, "WINDOW_UPDATE of nothing"
	if n > 0 {
		if window.Add(n) {
			c.wakeLocked()
			return nil
		}
		code, cause = x.ErrCodeFlowControl, "a window that is too large"
	}
	if f.Stream == 0 {
		return &http2.ConnError{Code: code, Cause: cause}
	}
	return &http2.StreamError{Stream: f.Stream, Code: code, Cause: cause}
}

func (c *conn) takePing(f *http2.Frame) error {
	if f.Has(x.FlagPingAck) {
		if string(f.Payload) == farewell {
			c.part()
			return nil
		}
		return c.pay(http2.CostFrame, f.Type)
	}
	c.mu.Lock()
	b := c.bufferLocked()
	*b = http2.AppendPing(*b, true, f.Payload)
	c.mu.Unlock()
	return c.pay(http2.CostFrame, f.Type)
}

func (c *conn) takePriority(f *http2.Frame) error {
	id, field := f.Updated()
	if id == 0 {
		return protocol("PRIORITY_UPDATE of the connection")
	}
	c.mu.Lock()
	if s := c.streams[id]; s != nil {
		s.priority = http2.ParsePriority(field)
	}
	c.mu.Unlock()
	return c.pay(http2.CostFrame, f.Type)
}

func (c *conn) takeReset(f *http2.Frame) error {
	c.mu.Lock()
	if f.Stream > c.last {
		c.mu.Unlock()
		return protocol("RST_STREAM of a stream that is not there yet")
	}
	s := c.streams[f.Stream]
	if s != nil {
		s.closeLocked()
		s.failLocked(errReset)
		c.restLocked()
	}
	c.mu.Unlock()
	if s == nil {
		return c.pay(http2.CostFrame, f.Type) // it has ended meanwhile
	}
	s.scope.End(errReset)
	return c.pay(http2.CostReset, f.Type)
}

// reset gives one stream up.
func (c *conn) reset(no *http2.StreamError) error {
	c.mu.Lock()
	s := c.streams[no.Stream]
	if s != nil {
		s.closeLocked()
		s.failLocked(no)
	}
	c.dropLocked(no.Stream)
	b := c.bufferLocked()
	*b = http2.AppendReset(*b, no.Stream, no.Code)
	c.mu.Unlock()
	if s != nil {
		s.scope.End(no)
	}
	cost := int64(http2.CostReset)
	if no.Code == x.ErrCodeRefusedStream {
		cost = http2.CostRefused
	}
	return c.pay(cost, x.FrameRSTStream)
}

// dropLocked notes that more may come of a stream that was given up.
func (c *conn) dropLocked(id uint32) {
	c.dropped[c.drops%len(c.dropped)] = id
	c.drops++
}

// wasDroppedLocked reports whether more may come of a stream though it has ended.
func (c *conn) wasDroppedLocked(id uint32) bool {
	for _, d := range c.dropped {
		if d == id {
			return true
		}
	}
	return false
}

// pay has the client pay for a frame.
func (c *conn) pay(cost int64, kind http2.FrameType) error {
	c.mu.Lock()
	ok := c.account.Spend(cost, time.Now())
	c.mu.Unlock()
	if !ok {
		return calm("%v and the like that ask for nothing", kind)
	}
	return nil
}

// refuse ends the connection, and tells the client why.
func (c *conn) refuse(no *http2.ConnError) step {
	status := http.StatusBadRequest
	if no.Code == x.ErrCodeEnhanceYourCalm {
		status = http.StatusTooManyRequests
	}
	c.owner.Unread(status, "HTTP/2: "+no.Cause+" ("+strings.ReplaceAll(no.Code.String(), "_", " ")+")", "")
	c.sayGoodbye(no.Code)
	return over
}
