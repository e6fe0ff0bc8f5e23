package h2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	x "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/http2"
)

const (
	tableSize  = 4 << 10                  // of the backend's compression (RFC 9113, section 6.5.2)
	mostBlock  = http1.MaxHeader + 16<<10 // bytes of a block as it comes
	mostFrames = 128                      // of a block
)

// A block is the fields of one stream, as they come in HEADERS and CONTINUATION frames
// (RFC 9113, section 4.3).
type block struct {
	open     bool // more of it has to come
	stream   uint32
	kind     kind
	end      bool // nothing follows it
	size     int  // as it came
	frames   int
	left     int // bytes that the fields may have
	head     http2.Response
	trailers http.Header
	wrong    bool // of the trailers: they are none
}

// kind is what a block is for.
type kind uint8

const (
	ofHead kind = iota
	ofTrailers
	ofNothing // its stream was given up
)

func protocol(format string, args ...any) error {
	return &http2.ConnError{Code: x.ErrCodeProtocol, Cause: fmt.Sprintf(format, args...)}
}

// pay has the backend pay for a frame.
func (c *conn) pay(cost int64, kind http2.FrameType) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.account.Spend(cost, time.Now()) {
		return &http2.ConnError{Code: x.ErrCodeEnhanceYourCalm, Cause: fmt.Sprintf("too many %v frames and the like that are of no use", kind)}
	}
	return nil
}

// take does what a frame says (RFC 9113, section 6).
func (c *conn) take(f *http2.Frame) error {
	switch {
	case c.block.open && (f.Type != x.FrameContinuation || f.Stream != c.block.stream):
		return protocol("%v within the fields of stream %d", f.Type, c.block.stream)
	case !c.greet && f.Type != x.FrameSettings:
		return protocol("%v before SETTINGS", f.Type)
	}
	now := time.Now()
	c.mu.Lock()
	c.frames++
	c.heard = now
	if f.Type == x.FrameData || f.Type == x.FrameHeaders {
		c.spoke = now
	}
	idle := f.Stream != 0 && (f.Stream%2 == 0 || f.Stream >= c.next) && f.Type <= x.FrameContinuation && f.Type != x.FramePriority
	c.mu.Unlock()
	if idle {
		return protocol("%v of a stream that nobody has begun", f.Type)
	}
	switch f.Type {
	case x.FrameHeaders:
		return c.takeHeaders(f, now)
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
	case x.FrameGoAway:
		return c.takeGoAway(f)
	}
	return c.pay(http2.CostFrame, f.Type) // what says nothing any more, and what nobody knows
}

// takeHeaders begins a block.
func (c *conn) takeHeaders(f *http2.Frame, now time.Time) error {
	b := &c.block
	b.head.Reset()
	*b = block{open: true, stream: f.Stream, kind: ofNothing, end: f.Has(x.FlagHeadersEndStream), head: b.head}
	c.mu.Lock()
	c.begun = now
	if s := c.streams[f.Stream]; s != nil && s.end == nil {
		if b.kind, b.left = ofHead, http1.MaxHeader-s.told; s.final {
			b.kind, b.trailers = ofTrailers, make(http.Header)
		}
	}
	c.mu.Unlock()
	if b.kind == ofNothing {
		if err := c.pay(http2.CostFrame, f.Type); err != nil {
			return err
		}
	}
	return c.takeFields(f)
}

// takeFields reads a part of a block.
func (c *conn) takeFields(f *http2.Frame) error {
	b := &c.block
	b.size += len(f.Payload)
	if b.frames++; b.size > mostBlock || b.frames > mostFrames {
		return &http2.ConnError{Code: x.ErrCodeEnhanceYourCalm, Cause: fmt.Sprintf("%d bytes of fields in %d frames", b.size, b.frames)}
	}
	_, err := c.fields.Write(f.Payload)
	if err == nil && f.Has(x.FlagHeadersEndHeaders) {
		err = c.fields.Close()
	}
	switch {
	case err != nil:
		return &http2.ConnError{Code: x.ErrCodeCompression, Cause: err.Error()}
	case !f.Has(x.FlagHeadersEndHeaders):
		return nil
	}
	b.open = false
	return c.endBlock()
}

// field takes a field of the block.
func (c *conn) field(f hpack.HeaderField) {
	b := &c.block
	switch b.kind {
	case ofHead:
		b.head.Add(f.Name, f.Value, b.left)
	case ofTrailers:
		if b.left -= len(f.Name) + len(f.Value) + len(": \r\n"); b.left < 0 || !http2.AddReplyTrailer(b.trailers, f.Name, f.Value) {
			b.wrong = true
		}
	}
}

var errHeader = fmt.Errorf("the response's header has more than %d bytes", http1.MaxHeader)

// endBlock does what a whole block says.
func (c *conn) endBlock() error {
	b := &c.block
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun = time.Time{}
	s := c.streams[b.stream]
	if s == nil || s.end != nil { // it has ended, perhaps while the block came
		return nil
	}
	switch b.kind {
	case ofTrailers:
		if b.wrong || !b.end {
			return &http2.StreamError{Stream: b.stream, Code: x.ErrCodeProtocol, Cause: "fields behind a body that are no trailers"}
		}
		s.tail = b.trailers
		s.endLocked()
	case ofHead:
		text, err := b.head.Text(b.end)
		var large *http1.Refusal
		switch {
		case errors.As(err, &large):
			return &http2.StreamError{Stream: b.stream, Code: x.ErrCodeEnhanceYourCalm, Cause: errHeader.Error()}
		case err != nil:
			return &http2.StreamError{Stream: b.stream, Code: x.ErrCodeProtocol, Cause: "malformed HTTP response: " + err.Error()}
		}
		s.heads = append(s.heads, text)
		s.told += len(text)
		s.final = b.head.Status() >= 200
		if b.end {
			s.endLocked()
		}
	}
	s.cond.Broadcast()
	return nil
}

// takeData takes a part of a body.
func (c *conn) takeData(f *http2.Frame) error {
	end := f.Has(x.FlagDataEndStream)
	if len(f.Payload) == 0 && !end {
		if err := c.pay(http2.CostFrame, f.Type); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.intake.Take(f.Flow) {
		return &http2.ConnError{Code: x.ErrCodeFlowControl, Cause: "more of bodies than the window lets through"}
	}
	s := c.streams[f.Stream]
	if s == nil { // the backend may not know yet that it was given up, and what it may send then is known
		c.tellLocked(nil, f.Flow)
		if c.stray -= int64(f.Flow); c.stray < 0 {
			return &http2.ConnError{Code: x.ErrCodeStreamClosed, Cause: "DATA of streams that have ended"}
		}
		return nil
	}
	no := &http2.StreamError{Stream: f.Stream, Code: x.ErrCodeProtocol}
	switch {
	case !s.final:
		no.Cause = "DATA before a response"
	case s.end != nil:
		no.Code, no.Cause = x.ErrCodeStreamClosed, "DATA behind the end of a stream"
	case !s.intake.Take(f.Flow):
		no.Code, no.Cause = x.ErrCodeFlowControl, "more of a body than its window lets through"
	case !s.orphaned.IsZero() && len(f.Payload) > 0:
		no.Cause = "a body where there is none"
	default:
		if padding := f.Flow - len(f.Payload); padding > 0 {
			c.tellLocked(s, padding)
		}
		s.pieces.Put(f.Payload)
		if end {
			s.endLocked()
		}
		s.cond.Broadcast()
		return nil
	}
	c.tellLocked(nil, f.Flow)
	return no
}

// tellLocked counts n bytes as used that have come of the body of s, nil for one that was
// given up, and has the backend told of it when it is time.
func (c *conn) tellLocked(s *stream, n int) {
	if c.broken != nil || n == 0 {
		return
	}
	if tell := c.intake.Used(n); tell > 0 {
		c.out = http2.AppendWindowUpdate(c.out, 0, tell)
	}
	if s != nil && s.end == nil {
		if tell := s.intake.Used(n); tell > 0 {
			c.out = http2.AppendWindowUpdate(c.out, s.id, tell)
		}
	}
	c.flushLocked()
}

func (c *conn) takeSettings(f *http2.Frame) error {
	if f.Has(x.FlagSettingsAck) {
		return c.pay(http2.CostFrame, f.Type)
	}
	c.mu.Lock()
	if !c.greet {
		c.greet, c.most = true, mostStreams
	}
	err := f.Settings(func(id http2.SettingID, value uint32) error {
		switch id {
		case x.SettingMaxConcurrentStreams:
			c.most = min(value, mostStreams)
		case x.SettingInitialWindowSize:
			return c.reopenLocked(int32(value))
		case x.SettingMaxFrameSize:
			c.frame = min(int(value), http2.MinFrame)
		}
		return nil
	})
	c.out = http2.AppendSettingsAck(c.out)
	c.flushLocked()
	c.mu.Unlock()
	if err != nil {
		return err
	}
	c.settled()
	return c.pay(http2.CostSettings, f.Type)
}

// reopenLocked changes what all streams begin with, and have begun with (RFC 9113, section
// 6.9.2).
func (c *conn) reopenLocked(initial int32) error {
	by := initial - c.initial // both are not negative
	c.initial = initial
	for _, s := range c.streams {
		if !s.window.Add(by) {
			return &http2.ConnError{Code: x.ErrCodeFlowControl, Cause: "a setting makes a window too large"}
		}
		s.cond.Broadcast()
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
	s := c.streams[f.Stream]
	window := &c.window
	if f.Stream != 0 {
		if s == nil {
			return nil // it has ended meanwhile
		}
		window = &s.window
	}
	code, cause := x.ErrCodeProtocol, "WINDOW_UPDATE of nothing"
	if n > 0 {
		if window.Add(n) {
			for _, other := range c.streams {
				if s == nil || other == s {
					other.cond.Broadcast()
				}
			}
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
	if !f.Has(x.FlagPingAck) {
		c.mu.Lock()
		c.out = http2.AppendPing(c.out, true, f.Payload)
		c.flushLocked()
		c.mu.Unlock()
	}
	return c.pay(http2.CostFrame, f.Type)
}

// takeReset takes that the backend gives a stream up. What it has answered to the end stays
// answered: it only wants nothing more of the request (RFC 9113, section 8.1).
func (c *conn) takeReset(f *http2.Frame) error {
	c.mu.Lock()
	s := c.streams[f.Stream]
	if s != nil {
		delete(c.streams, f.Stream)
		if f.Code() == x.ErrCodeRefusedStream && s.told == 0 {
			s.failLocked(&Unprocessed{"REFUSED_STREAM"})
		} else {
			s.failLocked(fmt.Errorf("the backend reset the stream: %v: %w", f.Code(), io.ErrUnexpectedEOF))
		}
		c.idleLocked()
	}
	c.mu.Unlock()
	if s == nil {
		return c.pay(http2.CostFrame, f.Type) // it has ended meanwhile
	}
	return nil
}

// takeGoAway takes that the backend wants no more streams, and has looked at none behind the
// last that it names.
func (c *conn) takeGoAway(f *http2.Frame) error {
	last, code := binary.BigEndian.Uint32(f.Payload)&(1<<31-1), http2.ErrCode(binary.BigEndian.Uint32(f.Payload[4:]))
	c.mu.Lock()
	for id, s := range c.streams {
		if id <= last {
			continue
		}
		delete(c.streams, id)
		if s.told == 0 {
			s.failLocked(&Unprocessed{fmt.Sprintf("GOAWAY: %v", code)})
		} else {
			s.failLocked(fmt.Errorf("the backend went away: %v: %w", code, io.ErrUnexpectedEOF))
		}
	}
	c.leaveLocked()
	c.mu.Unlock()
	return c.pay(http2.CostFrame, f.Type)
}

// reset gives one stream up, of which the backend has broken the rules.
func (c *conn) reset(no *http2.StreamError) error {
	c.mu.Lock()
	if s := c.streams[no.Stream]; s != nil {
		s.failLocked(no)
		s.resetLocked(no.Code)
	} else {
		c.out = http2.AppendReset(c.out, no.Stream, no.Code)
		c.flushLocked()
	}
	c.mu.Unlock()
	return c.pay(http2.CostReset, x.FrameRSTStream)
}
