package balancer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// sip takes a response at a KiB a second. It sleeps: for a synctest bubble only.
func sip(p *Pool, r *http.Request) ([]byte, error) {
	res, err := p.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var got bytes.Buffer
	for buf := make([]byte, 32<<10); ; {
		n, err := res.Body.Read(buf)
		got.Write(buf[:n])
		if err == io.EOF {
			return got.Bytes(), nil
		}
		if err != nil {
			return got.Bytes(), err
		}
		time.Sleep(time.Duration(n) * time.Second / 1024)
	}
}

// filled is a page of size bytes, each piece of which can be told.
func filled(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i / 251)
	}
	return b
}

func TestASlowClientHoldsNoBackend(t *testing.T) {
	page := filled(900 << 10)
	cases := []struct {
		name   string
		header http.Header
		held   bool
	}{
		{"a page", nil, false},
		{"events", http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}}, true},
		{"gRPC", http.Header{"Content-Type": {"application/grpc+proto"}}, true},
		{"not to be buffered", http.Header{"X-Accel-Buffering": {"no"}}, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, here(func(w http.ResponseWriter, _ *http.Request) {
					for k, v := range c.header {
						w.Header()[k] = v
					}
					_, _ = w.Write(page)
				}), Options{})
				done := make(chan []byte)
				go func() {
					got, err := sip(p, httptest.NewRequest("GET", "/", nil))
					if err != nil {
						t.Error(err)
					}
					done <- got
				}()
				time.Sleep(time.Second)
				synctest.Wait()
				if held := p.Backends()[0].InFlight+p.Backends()[0].Streams > 0; held != c.held {
					t.Errorf("after a second the backend is held: %v, want %v", held, c.held)
				}
				if kept := p.depot.answers.Held(); (kept > 0) == c.held || kept > bufferEach {
					t.Errorf("%d bytes are kept", kept)
				}
				if got := <-done; !bytes.Equal(got, page) {
					t.Errorf("the client got %d bytes, not the page", len(got))
				}
				if n := p.depot.answers.Held(); n != 0 {
					t.Errorf("%d bytes are still counted", n)
				}
			})
		})
	}
}

func TestWhatIsKeptIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := filled(1100 << 10)
		p := newPool(t, here(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) }),
			Options{Spool: Spool{Bytes: -1}}) // what is on the disk is not in memory
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan bool)
		const clients, others = 15, bufferTotal - 10<<20 // as if these were kept for others
		p.depot.answers.Take(netip.Addr{}, others, others, 0)
		for range clients {
			go func() {
				_, err := sip(p, httptest.NewRequest("GET", "/", nil).WithContext(ctx))
				done <- err != nil
			}()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := p.depot.answers.Held(); n > bufferTotal || n < bufferTotal-1<<20 {
			t.Errorf("%d MiB are kept for all, want 127 to 128", n>>20)
		}
		cancel()
		for range clients {
			if !<-done {
				t.Error("a client got a whole page")
			}
		}
		if n := p.depot.answers.Held(); n != others {
			t.Errorf("%d bytes are still counted", n-others)
		}
	})
}

func TestAClientThatKeepsUpCostsNothing(t *testing.T) {
	page := filled(300 << 10)
	p := newPool(t, here(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) }), Options{})
	w := get(p, "GET", "/", nil)
	if !bytes.Equal(w.Body.Bytes(), page) {
		t.Errorf("got %d bytes", w.Body.Len())
	}
}

func TestAnAbortSurvivesTheBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, here(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(filled(200 << 10))
			panic(http.ErrAbortHandler)
		}), Options{})
		if got, err := sip(p, httptest.NewRequest("GET", "/", nil)); err == nil {
			t.Errorf("%d bytes were passed off as a whole page", len(got))
		}
		if n := p.depot.answers.Held(); n != 0 {
			t.Errorf("%d bytes are still counted", n)
		}
	})
}

func TestASlowUploadHoldsNoBackend(t *testing.T) {
	cases := []struct {
		name   string
		length int64
		edit   func(*http.Request)
		held   bool
	}{
		{"a form", 5, func(*http.Request) {}, false},
		{"no length", -1, func(*http.Request) {}, true},
		{"gRPC", 5, header("Content-Type", "application/grpc"), true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := make(chan string, 1)
				p := newPool(t, here(func(_ http.ResponseWriter, r *http.Request) {
					b, err := io.ReadAll(r.Body)
					got <- fmt.Sprint(string(b), err)
				}), Options{})
				body, feed := io.Pipe()
				go func() {
					_, _ = io.WriteString(feed, "or")
					time.Sleep(time.Minute)
					_, _ = io.WriteString(feed, "der")
					_ = feed.Close()
				}()
				done := make(chan int)
				go func() {
					done <- get(p, "POST", "/", body, c.edit, func(r *http.Request) { r.ContentLength = c.length }).Code
				}()
				time.Sleep(time.Second)
				synctest.Wait()
				if held := p.Backends()[0].InFlight+p.Backends()[0].Streams > 0; held != c.held {
					t.Errorf("held: %v, want %v", held, c.held)
				}
				if code, body := <-done, <-got; code != 200 || body != "order<nil>" {
					t.Errorf("%d, the backend got %q", code, body)
				}
				if n := p.depot.answers.Held(); n != 0 {
					t.Errorf("%d bytes are still counted", n)
				}
			})
		})
	}
}

func TestAShortUploadIsTheClientsFault(t *testing.T) {
	p := newPool(t, here(servedBy("a")), Options{})
	w := get(p, "POST", "/", strings.NewReader("half"), func(r *http.Request) { r.ContentLength = 8 })
	if s := p.Backends()[0]; w.Code != 499 || s.Requests != 0 || p.depot.answers.Held() != 0 {
		t.Errorf("got %d; the backend was asked %d times", w.Code, s.Requests)
	}
}
