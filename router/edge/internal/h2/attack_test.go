package h2_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	x "golang.org/x/net/http2"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge/internal/h2"
	"github.com/foretier/foretier/router/edge/internal/wire"
)

// TestFloodsEndTheConnection: who has the server work for nothing is sent away, after a
// number of frames that nobody needs, with one line in the log; and no handler has run more
// often than that.
func TestFloodsEndTheConnection(t *testing.T) {
	raw := func(p *peer, kind x.FrameType, flags x.Flags, stream uint32, payload string) {
		p.fr.WriteRawFrame(kind, flags, stream, []byte(payload))
	}
	for name, flood := range map[string]func(p *peer){
		"resets": func(p *peer) { p.fr.WriteRSTStream(p.ask(true, ":path=/wait"), x.ErrCodeCancel) },
		// What makes the server reset (CVE-2025-8671).
		"windows that grow by nothing": func(p *peer) { raw(p, x.FrameWindowUpdate, 0, p.ask(true, ":path=/wait"), "\x00\x00\x00\x00") },
		"windows without bounds":       func(p *peer) { raw(p, x.FrameWindowUpdate, 0, p.ask(true, ":path=/wait"), "\x7f\xff\xff\xff") },
		"data behind the end":          func(p *peer) { raw(p, x.FrameData, 0, p.ask(true, ":path=/wait"), "x") },
		"priorities that are none":     func(p *peer) { raw(p, x.FramePriority, 0, p.ask(true, ":path=/wait"), "x") },
		"streams that depend on themselves": func(p *peer) {
			n := p.ask(true, ":path=/wait")
			p.fr.WritePriority(n, x.PriorityParam{StreamDep: n})
		},
		"bodies of another length": func(p *peer) {
			p.fr.WriteData(p.ask(false, ":method=POST", "content-length=1", ":path=/wait"), true, []byte("xx"))
		},
		"malformed requests":     func(p *peer) { p.ask(true, "connection=close") },
		"requests that are many": func(p *peer) { p.ask(true, ":path=/wait") },
		"pings":                  func(p *peer) { p.fr.WritePing(false, [8]byte{}) },
		"answers to pings":       func(p *peer) { p.fr.WritePing(true, [8]byte{}) },
		"settings":               func(p *peer) { p.fr.WriteSettings(x.Setting{ID: x.SettingInitialWindowSize, Val: 1}) },
		"answers to settings":    func(p *peer) { p.fr.WriteSettingsAck() },
		"priorities":             func(p *peer) { p.fr.WritePriority(77, x.PriorityParam{StreamDep: 3}) },
		"new priorities":         func(p *peer) { raw(p, 0x10, 0, 0, "\x00\x00\x00\x01u=1") },
		"windows":                func(p *peer) { p.fr.WriteWindowUpdate(0, 1) },
		"windows of the past":    func(p *peer) { p.fr.WriteWindowUpdate(1, 1) },
		"resets of the past":     func(p *peer) { p.fr.WriteRSTStream(1, x.ErrCodeCancel) },
		"frames of no kind":      func(p *peer) { raw(p, 0xfe, 0, 0, "") },
		"goodbyes":               func(p *peer) { p.fr.WriteGoAway(0, x.ErrCodeNo, nil) },
		"empty data": func(p *peer) {
			if p.last == 1 {
				p.ask(false, ":method=POST", ":path=/wait")
			}
			p.fr.WriteData(p.last, false, nil)
		},
		"data of padding": func(p *peer) {
			if p.last == 1 {
				p.ask(false, ":method=POST", ":path=/wait")
			}
			raw(p, x.FrameData, x.FlagDataPadded, p.last, "\x00")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var begun atomic.Int32
			srv := &h2.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				begun.Add(1)
				if r.URL.Path == "/wait" {
					<-r.Context().Done()
				}
			})}
			owner := new(anybody)
			p := dial(t, serve(t, srv, wire.Options{}, owner))
			p.alive()
			go func() {
				for range 100_000 {
					flood(p)
				}
			}()
			if last := p.ends(); !strings.HasPrefix(last, "GOAWAY") || !strings.HasSuffix(last, "ENHANCE_YOUR_CALM") {
				t.Errorf("the connection ends with %q", last)
			}
			calm := 0
			for _, line := range owner.all() {
				if strings.HasPrefix(line, "429 ") {
					calm++
				}
			}
			if calm != 1 {
				t.Errorf("%d lines of that in the log", calm)
			}
			if n := begun.Load(); n > 600 {
				t.Errorf("%d requests were begun", n)
			}
		})
	}
}

// TestHandlersOfStreamsThatWereResetCount: however fast streams are reset, no more handlers
// run than twice what may be asked at once.
func TestHandlersOfStreamsThatWereResetCount(t *testing.T) {
	release := make(chan bool)
	var running, most atomic.Int32
	srv := &h2.Server{Streams: 10, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			return
		}
		most.Store(max(most.Load(), running.Add(1)))
		<-release // whatever its context says
		running.Add(-1)
	})}
	p := dial(t, serve(t, srv, wire.Options{}, new(anybody)))
	for range 100 {
		p.fr.WriteRSTStream(p.ask(true, ":path=/stays"), x.ErrCodeCancel)
	}
	p.wants("RST_STREAM 199 REFUSED_STREAM")
	if n := most.Load(); n > 20 {
		t.Errorf("%d handlers run", n)
	}
	close(release)
	testkit.Within(t, testkit.Patience, "the handlers have returned", func() bool { return running.Load() == 0 })
	for { // the places are free again, once the handlers have returned
		if p.ask(true); !strings.HasPrefix(p.wantsAny(), "RST_STREAM") {
			break
		}
		runtime.Gosched()
	}
}

// TestBlocksWithoutEnd: fields of which no end comes are neither kept nor waited for.
func TestBlocksWithoutEnd(t *testing.T) {
	for name, flood := range map[string]func(p *peer){
		"CONTINUATION": func(p *peer) {
			block := p.fields("a=1")
			p.fr.WriteHeaders(x.HeadersFrameParam{StreamID: 1, BlockFragment: block})
			for range 100_000 {
				p.fr.WriteContinuation(1, false, p.part("b="+strings.Repeat("b", 1000)))
			}
		},
		"CONTINUATION of nothing": func(p *peer) {
			p.fr.WriteHeaders(x.HeadersFrameParam{StreamID: 1, BlockFragment: p.fields()})
			for range 100_000 {
				p.fr.WriteContinuation(1, false, nil)
			}
		},
		"a string that is too long": func(p *peer) {
			p.fr.WriteHeaders(x.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0, 1, 'a', 0x7f, 0xff, 0xff, 0xff, 0x7f}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := dial(t, serve(t, &h2.Server{Handler: http.NotFoundHandler()}, wire.Options{}, new(anybody)))
			go flood(p)
			if last := p.ends(); !strings.HasPrefix(last, "GOAWAY") || !strings.Contains(last, "CALM") && !strings.Contains(last, "COMPRESSION") {
				t.Errorf("the connection ends with %q", last)
			}
		})
	}
}

// TestABombOfFields: what grows a thousandfold when it is decompressed is refused, and the
// next request is served. Package http2 tests what it takes.
func TestABombOfFields(t *testing.T) {
	p := dial(t, serve(t, &h2.Server{Handler: http.NotFoundHandler()}, wire.Options{}, new(anybody)))
	p.enc.SetMaxDynamicTableSize(4096)
	p.wants(fmt.Sprintf("HEADERS %d :status=404", p.ask(true, "bomb="+strings.Repeat("b", 3900))))
	block := append(p.fields(), bytes.Repeat([]byte{0x80 | 62}, 16000)...) // the field that was told last
	p.last += 2
	p.fr.WriteHeaders(x.HeadersFrameParam{StreamID: p.last, BlockFragment: block, EndStream: true, EndHeaders: true})
	p.wants(fmt.Sprintf("HEADERS %d :status=431", p.last))
	p.alive()
}

// TestMalformedRequestsEndTheirStream, and no other.
func TestMalformedRequestsEndTheirStream(t *testing.T) {
	for name, fields := range map[string][]string{
		"the connection's fields": {"connection=close"}, "TE of more": {"te=gzip"}, "upper case": {"X-A=1"}, "a path without slash": {":path=a"},
		"LF": {"a=b\nc: d"}, "a request in a value": {"a=b\r\n\r\nGET /admin HTTP/1.1\r\nHost: a"}, "a blank in a name": {"a b=1"}, "a length without a body": {"content-length=3"},
	} {
		served := false
		srv := &h2.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { served = served || r.URL.Path != "/last" })}
		owner := new(anybody)
		p := dial(t, serve(t, srv, wire.Options{}, owner))
		p.wants(fmt.Sprintf("RST_STREAM %d PROTOCOL_ERROR", p.ask(true, fields...)))
		p.wants(fmt.Sprintf("HEADERS %d :status=200", p.ask(true, ":path=/last")))
		if served || len(owner.all()) != 1 {
			t.Errorf("%s: a handler saw it (%t), or the log did not: %q", name, served, owner.all())
		}
	}
	owner := new(anybody)
	p := dial(t, serve(t, &h2.Server{Handler: http.NotFoundHandler()}, wire.Options{}, owner))
	for fields, status := range map[string]int{
		":path=/" + strings.Repeat("a", 9000): 414, "a=" + strings.Repeat("a", 40<<10): 431, ":authority=a/b": 400, "expect=more": 417,
	} {
		block := p.fields(fields)
		p.last = max(1, p.last+2)
		p.last |= 1
		first := block[:min(len(block), 16<<10)]
		p.fr.WriteHeaders(x.HeadersFrameParam{StreamID: p.last, BlockFragment: first, EndStream: true, EndHeaders: len(first) == len(block)})
		for rest := block[len(first):]; len(rest) > 0; {
			n := min(len(rest), 16<<10)
			p.fr.WriteContinuation(p.last, n == len(rest), rest[:n])
			rest = rest[n:]
		}
		p.wants(fmt.Sprintf("HEADERS %d :status=%d", p.last, status))
	}
	if n := len(owner.all()); n != 4 {
		t.Errorf("%d lines in the log", n)
	}
}

// TestSlowReaders: clients who open no window, for 100 streams, hold no more than what is
// answered, and for no longer than they may pause.
func TestSlowReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Int32
		body := bytes.Repeat([]byte("x"), 1<<20)
		srv := &h2.Server{WriteStall: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			if _, err := w.Write(body); err == nil {
				t.Error("all of it was written")
			}
			<-r.Context().Done()
			ended.Add(1)
		})}
		p, close := pipe(t, srv, x.Setting{ID: x.SettingInitialWindowSize, Val: 10})
		defer close()
		for range 100 {
			p.ask(true)
		}
		time.Sleep(59 * time.Second) // in a bubble: the time that they have
		synctest.Wait()
		if n := ended.Load(); n > 0 {
			t.Errorf("%d answers were given up too early", n)
		}
		p.fr.WriteWindowUpdate(1, 10) // who takes something has as long again
		synctest.Wait()
		time.Sleep(2 * time.Second) // likewise
		synctest.Wait()
		if n := ended.Load(); n != 99 {
			t.Errorf("%d answers were given up, want 99", n)
		}
		time.Sleep(time.Minute) // likewise
		synctest.Wait()
		if n := ended.Load(); n != 100 {
			t.Errorf("%d answers were given up", n)
		}
	})
}

// TestFramesWithoutEnd: one that has begun is not waited for longer than what it is of: a
// head for as long as a head may take, byte by byte or not, a body for as long as it may
// pause.
func TestFramesWithoutEnd(t *testing.T) {
	for name, c := range map[string]struct {
		frame []byte // what comes of it: its kind, then one byte each 5 s
		want  time.Duration
	}{
		"HEADERS":       {[]byte{0, 0, 100, 1, 4, 0, 0, 0, 3}, 10 * time.Second},
		"SETTINGS":      {[]byte{0, 0, 60, 4, 0, 0, 0, 0, 0}, 10 * time.Second},
		"DATA":          {[]byte{0, 0, 100, 0, 0, 0, 0, 0, 1, 'x', 'x'}, 65 * time.Second}, // its bytes, and a pause
		"nothing of it": {[]byte{0}, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, end := pipe(t, &h2.Server{HeadTime: 10 * time.Second, BodyStall: 30 * time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					<-r.Context().Done()
				})})
				p.ask(false, ":method=POST")
				synctest.Wait()
				began := time.Now()
				for rest, n := c.frame, min(4, len(c.frame)); n > 0; n = min(1, len(rest)) {
					if _, err := p.c.Write(rest[:n]); err != nil {
						break // it has ended
					}
					rest = rest[n:]
					time.Sleep(5 * time.Second) // in a bubble
				}
				for range p.frames {
				}
				if took := time.Since(began); took < c.want || took > c.want+10*time.Second {
					t.Errorf("the connection has ended after %v, want %v", took, c.want)
				}
				end()
			})
		})
	}
}

// TestMoreThanTheWindows ends the stream, or the connection.
func TestMoreThanTheWindows(t *testing.T) {
	srv := &h2.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })}
	addr := serve(t, srv, wire.Options{}, new(anybody))
	p := dial(t, addr)
	n := p.ask(false, ":method=POST")
	chunk := make([]byte, 16<<10)
	for range 17 {
		p.fr.WriteData(n, false, chunk)
	}
	p.wants(fmt.Sprintf("RST_STREAM %d FLOW_CONTROL_ERROR", n))
	p = dial(t, addr)
	for range 3 {
		n := p.ask(false, ":method=POST")
		for range 16 {
			p.fr.WriteData(n, false, chunk)
		}
	}
	if last := p.ends(); !strings.HasSuffix(last, "FLOW_CONTROL_ERROR") {
		t.Errorf("the connection ends with %q", last)
	}
}

// TestConnectionsThatAreNone end, and say why.
func TestConnectionsThatAreNone(t *testing.T) {
	addr := serve(t, &h2.Server{Handler: http.NotFoundHandler()}, wire.Options{}, new(anybody))
	huge := binary.BigEndian.AppendUint32([]byte{0, 0x40, 1, 0, 0}, 1)
	for name, c := range map[string]struct {
		say  func(p *peer)
		want string
	}{
		"a frame too large": {func(p *peer) { p.c.Write(huge) }, "FRAME_SIZE_ERROR"},
		"an even stream": {func(p *peer) {
			p.last = 2
			p.fr.WriteHeaders(x.HeadersFrameParam{StreamID: 2, BlockFragment: p.fields(), EndHeaders: true})
		}, "PROTOCOL_ERROR"},
		"a stream of the past": {func(p *peer) { p.last = 5; p.ask(true); p.last = 1; p.ask(true) }, "STREAM_CLOSED"},
		"data of no stream":    {func(p *peer) { p.fr.WriteData(9, true, nil) }, "PROTOCOL_ERROR"},
		"fields within fields": {func(p *peer) {
			p.fr.WriteHeaders(x.HeadersFrameParam{StreamID: 1, BlockFragment: p.fields()})
			p.ask(true)
		}, "PROTOCOL_ERROR"},
		"a frame within fields": {func(p *peer) {
			p.fr.WriteHeaders(x.HeadersFrameParam{StreamID: 1, BlockFragment: p.fields()})
			p.fr.WritePing(false, [8]byte{})
		}, "PROTOCOL_ERROR"},
		"a window too large": {func(p *peer) { p.fr.WriteWindowUpdate(0, 1<<31-1) }, "FLOW_CONTROL_ERROR"},
		"a table that is too large": {func(p *peer) {
			p.fr.WriteHeaders(x.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x3f, 0xff, 0xff, 3}, EndHeaders: true})
		}, "COMPRESSION_ERROR"},
	} {
		p := dial(t, addr)
		c.say(p)
		if last := p.ends(); !strings.HasPrefix(last, "GOAWAY") || !strings.HasSuffix(last, c.want) {
			t.Errorf("%s: the connection ends with %q", name, last)
		}
	}
}
