package h2_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	x "golang.org/x/net/http2"

	"github.com/foretier/foretier/internal/http1"
)

// answers answers each request with its path, until the connection ends.
func answers(p *peer) {
	for {
		f, ok := p.next().(*x.MetaHeadersFrame)
		if !ok {
			return
		}
		if p.headers(f.StreamID, false, ":status", "200") != nil || p.WriteData(f.StreamID, true, []byte(f.PseudoValue("path"))) != nil {
			return
		}
	}
}

// TestPages: of one after the other, all over one connection, which closes by itself.
func TestPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Duration, 1)
		tr := script(t, func(p *peer) {
			begun := time.Now()
			answers(p)
			ended <- time.Since(begun)
		})
		for _, path := range []string{"/a", "/b", "/"} {
			c := call("GET", path)
			if status, body, _, err := fetch(t.Context(), tr, c); status != 200 || body != path || err != nil || !c.Sent() {
				t.Errorf("%d %q, %v", status, body, err)
			}
		}
		if idled := <-ended; idled < http1.KeepIdle || idled > http1.KeepIdle+time.Second {
			t.Errorf("closed after %v", idled)
		}
	})
}

// TestASilentBackend is asked whether it is there, and given up if it is not; one that is
// there is not asked so often that it takes that for an attack.
func TestASilentBackend(t *testing.T) {
	for name, answers := range map[string]bool{"gone": false, "there": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var pings []time.Duration
				begun := time.Now()
				tr := script(t, func(p *peer) {
					for {
						f, err := p.ReadFrame()
						if err != nil {
							return
						}
						if ping, ok := f.(*x.PingFrame); ok {
							if pings = append(pings, time.Since(begun)); answers && p.WritePing(true, ping.Data) != nil {
								return
							}
						}
					}
				})
				c := call("GET", "/")
				c.Wait = 15 * time.Minute
				_, err := tr.Exchange(t.Context(), c)
				took := time.Since(begun)
				tr.CloseIdleConnections()
				synctest.Wait()
				var late *http1.TimeoutError
				if !errors.As(err, &late) {
					t.Errorf("got %v", err)
				}
				if !answers && (took != 20*time.Second || len(pings) != 1) || answers && (took != c.Wait || len(pings) != 3) {
					t.Errorf("given up after %v, asked %v", took, pings)
				}
			})
		})
	}
}

// TestAHeaderThatDoesNotEnd holds up a connection for a while, and no longer.
func TestAHeaderThatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		tr := script(t, func(p *peer) {
			defer close(ended)
			s := p.request()
			go p.hear()
			_ = p.WriteHeaders(x.HeadersFrameParam{StreamID: s, BlockFragment: p.block(":status", "200")})
			for p.WriteContinuation(s, false, []byte{0x88}) == nil {
				time.Sleep(5 * time.Second) // in the bubble
			}
		})
		begun := time.Now()
		if _, err := tr.Exchange(t.Context(), call("GET", "/")); err == nil || time.Since(begun) > 30*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		<-ended
	})
}

// TestLimitsOfTime: of the wait for an answer, of a pause inside it, and of an upload that
// nobody takes.
func TestLimitsOfTime(t *testing.T) {
	slow := func(p *peer) {
		for {
			switch f := p.next().(type) {
			case nil:
				return
			case *x.MetaHeadersFrame:
				if f.PseudoValue("path") == "/begins" {
					_ = p.headers(f.StreamID, false, ":status", "200")
					_ = p.WriteData(f.StreamID, false, []byte("page"))
				}
			}
		}
	}
	for path, want := range map[string]string{"/never": "no response for 3s", "/begins": "nothing inside the response for 2s", "/upload": "no response for 3s"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := script(t, slow)
				defer tr.CloseIdleConnections()
				c := call("GET", path)
				c.Wait, c.Idle = 3*time.Second, 2*time.Second
				if path == "/upload" {
					c.Request.Method, c.Request.ContentLength = "POST", 1<<20
					c.Body = func() io.ReadCloser { return io.NopCloser(strings.NewReader(strings.Repeat("x", 1<<20))) }
				}
				begun := time.Now()
				_, _, _, err := fetch(t.Context(), tr, c)
				if err == nil || err.Error() != want || time.Since(begun) > 4*time.Second {
					t.Errorf("%v after %v, want %q", err, time.Since(begun), want)
				}
			})
		})
	}
}

// TestGivenUpStreamsAreReset, whoever gives them up, and the connection goes on.
func TestGivenUpStreamsAreReset(t *testing.T) {
	codes := make(chan x.ErrCode, 8)
	var conns atomic.Int32
	tr := script(t, func(p *peer) {
		conns.Add(1)
		for {
			switch f := p.next().(type) {
			case nil:
				return
			case *x.RSTStreamFrame:
				codes <- f.ErrCode
			case *x.MetaHeadersFrame:
				switch f.PseudoValue("path") {
				case "/never":
				case "/begins":
					_ = p.headers(f.StreamID, false, ":status", "200")
				default: // also of a request that has not come to its end
					_ = p.headers(f.StreamID, true, ":status", "204")
				}
			}
		}
	})
	defer tr.CloseIdleConnections()
	gone := errors.New("the client has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	c := call("GET", "/never")
	go func() {
		for !c.Sent() { // until it is there
			time.Sleep(time.Millisecond) // nothing else tells
		}
		cancel(gone)
	}()
	if _, err := tr.Exchange(ctx, c); err != gone {
		t.Errorf("cancelled: %v", err)
	}
	if code := <-codes; code != x.ErrCodeCancel {
		t.Errorf("cancelled: %v", code)
	}
	c = call("GET", "/never")
	c.Abort(gone)
	if _, err := tr.Exchange(t.Context(), c); err != gone {
		t.Errorf("aborted: %v", err)
	}
	<-codes
	r, err := tr.Exchange(t.Context(), call("GET", "/begins"))
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	if _, err := r.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("read after close: %v", err)
	}
	if code := <-codes; code != x.ErrCodeCancel {
		t.Errorf("closed: %v", code)
	}
	pr, pw := io.Pipe()
	c = call("POST", "/early")
	c.Request.ContentLength = -1
	c.Body = func() io.ReadCloser { return pr }
	if status, _, _, err := fetch(t.Context(), tr, c); status != 204 || err != nil {
		t.Errorf("answered early: %d, %v", status, err)
	}
	if code := <-codes; code != x.ErrCodeNo {
		t.Errorf("answered early: %v", code)
	}
	if _, err := pw.Write([]byte("more")); err != io.ErrClosedPipe {
		t.Errorf("the body is still read: %v", err)
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestAsManyAsTheBackendAllows are asked at once on one connection, and the rest on others.
func TestAsManyAsTheBackendAllows(t *testing.T) {
	const all, allowed = 12, 3
	var conns, taken, refused atomic.Int32
	release := make(chan struct{})
	tr := script(t, func(p *peer) {
		conns.Add(1)
		open := 0
		for {
			s := p.request()
			if s == 0 {
				return
			}
			if open++; open > allowed {
				refused.Add(1)
				p.mu.Lock()
				_ = p.WriteRSTStream(s, x.ErrCodeRefusedStream)
				p.mu.Unlock()
				continue
			}
			go func() {
				<-release
				p.mu.Lock()
				defer p.mu.Unlock()
				_ = p.headers(s, true, ":status", "204")
			}()
			if taken.Add(1) == all {
				close(release)
			}
		}
	}, x.Setting{ID: x.SettingMaxConcurrentStreams, Val: allowed})
	defer tr.CloseIdleConnections()
	var wg sync.WaitGroup
	for range all {
		wg.Go(func() {
			if status, _, _, err := fetch(t.Context(), tr, call("POST", "/")); status != 204 || err != nil {
				t.Errorf("%d, %v", status, err)
			}
		})
	}
	wg.Wait()
	if n := conns.Load(); n != all/allowed || refused.Load() > 0 {
		t.Errorf("%d connections, want %d; %d were refused", n, all/allowed, refused.Load())
	}
}

// TestNoStaleConnectionForWhatIsNotRepeated: it gets a new one, a page does not.
func TestNoStaleConnectionForWhatIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var conns atomic.Int32
		tr := script(t, func(p *peer) { conns.Add(1); answers(p) })
		defer tr.CloseIdleConnections()
		for i, fresh := range []bool{false, false, true} {
			c := call("POST", "/")
			c.Fresh = fresh
			if _, _, _, err := fetch(t.Context(), tr, c); err != nil {
				t.Fatal(err)
			}
			if want := int32(1 + i/2); conns.Load() != want {
				t.Errorf("%d connections, want %d", conns.Load(), want)
			}
			time.Sleep(2 * time.Second) // in the bubble
		}
		tr.CloseIdleConnections()
		synctest.Wait()
	})
}

// TestAnOldConnectionThatEnds before it says anything is no failure of what may be asked
// twice.
func TestAnOldConnectionThatEnds(t *testing.T) {
	for _, again := range []bool{true, false} {
		var asked atomic.Int32
		tr := script(t, func(p *peer) {
			s := p.request()
			asked.Add(1)
			_ = p.headers(s, true, ":status", "204")
			if p.request() != 0 { // and hangs up
				asked.Add(1)
			}
		})
		if _, _, _, err := fetch(t.Context(), tr, call("GET", "/")); err != nil {
			t.Fatal(err)
		}
		c := call("GET", "/")
		c.Again = func() bool { return again }
		_, _, _, err := fetch(t.Context(), tr, c)
		if (err == nil) != again || asked.Load() != map[bool]int32{true: 3, false: 2}[again] {
			t.Errorf("again %t: asked %d times, %v", again, asked.Load(), err)
		}
		tr.CloseIdleConnections()
	}
}

// TestNoBody: the end of an answer of which all has come need not have.
func TestNoBody(t *testing.T) {
	tr := script(t, func(p *peer) {
		for {
			s := p.request()
			if s == 0 {
				return
			}
			_ = p.headers(s, false, ":status", "200", "content-length", "20", "trailer", "x-sum")
			_ = p.WriteData(s, true, nil)
		}
	})
	defer tr.CloseIdleConnections()
	for range 3 {
		r, err := tr.Exchange(t.Context(), call("HEAD", "/"))
		if err != nil || !r.Ended() || r.ContentLength() != 20 {
			t.Fatalf("%+v, %v", r, err)
		}
		res := r.Response()
		if res.Body != http.NoBody || res.ContentLength != 20 || res.Proto != "HTTP/2.0" || res.Header["Trailer"] != nil {
			t.Errorf("%+v", res)
		}
	}
}
