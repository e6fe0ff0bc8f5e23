package h2_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	x "golang.org/x/net/http2"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge/internal/h1"
	"github.com/foretier/foretier/router/edge/internal/h2"
	"github.com/foretier/foretier/router/edge/internal/wire"
)

// A dialogue is what a handler does, and what its client says and hears.
func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		ask     func(p *peer) // nil: a GET
		want    []string      // in this order, others between them
	}{
		"nothing": {func(http.ResponseWriter, *http.Request) {}, nil, []string{"HEADERS 1 :status=200 content-length=0 END"}},
		"a body is counted, and its kind told": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, nil,
			[]string{"HEADERS 1 :status=200 content-type=text/html; charset=utf-8 content-length=6", "DATA 1 <html> END"}},
		"a length that is too large": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			io.WriteString(w, "short")
		}, nil, []string{"HEADERS 1 :status=200", "DATA 1 short", "RST_STREAM 1 INTERNAL_ERROR"}},
		"a length that is too small": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2")
			if _, err := io.WriteString(w, "more"); err != http.ErrContentLength {
				panic(err)
			}
			io.WriteString(w, "ab")
		}, nil, []string{"DATA 1 ab END"}},
		"HEAD": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "body") }, func(p *peer) { p.ask(true, ":method=HEAD") },
			[]string{"HEADERS 1 :status=200 content-type=text/plain; charset=utf-8 content-length=4 END"}},
		"304": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Etag", `"a"`)
			w.WriteHeader(304)
			if _, err := io.WriteString(w, "body"); err != http.ErrBodyNotAllowed {
				panic(err)
			}
		}, nil, []string{`HEADERS 1 :status=304 etag="a" END`}},
		"the connection's fields stay here": {func(w http.ResponseWriter, _ *http.Request) {
			for _, name := range []string{"Keep-Alive", "Transfer-Encoding", "Upgrade", "Proxy-Connection"} {
				w.Header().Set(name, "x")
			}
		}, nil, []string{"HEADERS 1 :status=200 content-length=0 END"}},
		"what a field has that none may": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("A", "1\r\nb: 2")
			w.Header()["no token"] = []string{"1"}
		}, nil, []string{"HEADERS 1 :status=200 a=1  b: 2 content-length=0 END"}},
		"flushed": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			io.WriteString(w, "b")
		}, nil, []string{"HEADERS 1 :status=200 content-type=text/plain; charset=utf-8", "DATA 1 a", "DATA 1 b END"}},
		"informed": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</a>")
			w.WriteHeader(103)
			w.WriteHeader(204)
		}, nil, []string{"HEADERS 1 :status=103 link=</a>", "HEADERS 1 :status=204 link=</a> END"}},
		"trailers": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "A")
			io.WriteString(w, "x")
			w.Header().Set("A", "1")
			w.Header().Set(http.TrailerPrefix+"B", "2")
		}, nil, []string{"HEADERS 1 :status=200", "DATA 1 x", "HEADERS 1 a=1 b=2 END"}},
		"broken off": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		}, nil, []string{"HEADERS 1 :status=200", "DATA 1 half", "RST_STREAM 1 INTERNAL_ERROR"}},
		"broken off before": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nil, []string{"RST_STREAM 1 INTERNAL_ERROR"}},
		"a handler that ends its goroutine": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "half")
			runtime.Goexit()
		}, nil, []string{"RST_STREAM 1 INTERNAL_ERROR"}},
		"taken back": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "half")
			if !w.(interface{ Retract() bool }).Retract() {
				panic("not taken back")
			}
			w.WriteHeader(502)
		}, nil, []string{"HEADERS 1 :status=502 content-length=0 END"}},
		"nobody reads the body": {func(http.ResponseWriter, *http.Request) {}, func(p *peer) {
			p.fr.WriteData(p.ask(false, ":method=POST"), false, []byte("x"))
		}, []string{"HEADERS 1 :status=200 content-length=0 END", "RST_STREAM 1 NO_ERROR"}},
		"an echo with trailers": {func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			fmt.Fprint(w, string(b), err, r.ContentLength, r.Trailer["A"], r.Proto, r.Header["Cookie"])
		}, func(p *peer) {
			n := p.ask(false, ":method=POST", "trailer=a", "cookie=a", "cookie=b")
			p.fr.WriteData(n, false, []byte("hel"))
			p.fr.WriteDataPadded(n, false, []byte("lo "), make([]byte, 100))
			p.fr.WriteHeaders(x.HeadersFrameParam{StreamID: n, BlockFragment: p.part("a=1"), EndStream: true, EndHeaders: true})
		}, []string{"DATA 1 hello <nil> -1 [1]HTTP/2.0[a; b] END"}},
		"asked to go on": {func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }, func(p *peer) {
			n := p.ask(false, ":method=POST", "expect=100-continue")
			p.wants("HEADERS 1 :status=100")
			p.fr.WriteData(n, true, []byte("hello"))
		}, []string{"DATA 1 hello END"}},
		"a body beyond its bound": {func(w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 2))
			fmt.Fprint(w, err)
		}, func(p *peer) { p.fr.WriteData(p.ask(false, ":method=POST"), false, []byte("hello")) }, []string{"DATA 1 http: request body too large END", "RST_STREAM 1 NO_ERROR"}},
		"both at once": {func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).EnableFullDuplex()
			io.WriteString(w, "first ")
			w.(http.Flusher).Flush()
			io.Copy(w, r.Body)
		}, func(p *peer) {
			n := p.ask(false, ":method=POST")
			p.wants("DATA 1 first")
			p.fr.WriteData(n, true, []byte("then"))
		}, []string{"DATA 1 then END"}},
		"no settings of the client's shrink a head": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("A", strings.Repeat("a", 40<<10))
		}, nil, []string{"HEADERS 1 :status=200 a=aaa"}},
		"priorities": {func(http.ResponseWriter, *http.Request) {}, func(p *peer) { p.ask(true, "priority=u=0, i") }, []string{"HEADERS 1 :status=200"}},
		"nobody takes a stream over": {func(w http.ResponseWriter, _ *http.Request) {
			_, _, err := http.NewResponseController(w).Hijack()
			fmt.Fprint(w, errors.Is(err, http.ErrNotSupported))
		}, nil, []string{"DATA 1 true END"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := dial(t, serve(t, &h2.Server{Handler: c.handler}, wire.Options{}, new(anybody)))
			if c.ask == nil {
				p.ask(true)
			} else {
				c.ask(p)
			}
			for _, want := range c.want {
				got := p.wants(strings.TrimSuffix(want, " END"))
				if strings.HasSuffix(want, " END") && got != want {
					t.Fatalf("got %q, want %q", got, want)
				}
			}
			p.fr.WritePing(false, [8]byte{'g', 'o', 'e', 's', ' ', 'o', 'n', '!'})
			p.wants("PING true goes on!")
		})
	}
}

// TestAClientThatLeavesEndsItsRequest, by closing the connection or by resetting the stream.
func TestAClientThatLeavesEndsItsRequest(t *testing.T) {
	causes := make(chan error, 1)
	begun := make(chan bool, 1)
	addr := serve(t, &h2.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun <- true
		<-r.Context().Done()
		if _, err := r.Body.Read(make([]byte, 1)); err == nil {
			t.Error("a body of nobody's")
		}
		if w.Write(make([]byte, 1<<20)); !w.(interface{ Gone() bool }).Gone() {
			t.Error("not gone")
		}
		causes <- context.Cause(r.Context())
	})}, wire.Options{}, new(anybody))
	for name, leave := range map[string]func(p *peer){
		"reset": func(p *peer) {
			p.fr.WriteRSTStream(1, x.ErrCodeCancel)
			p.fr.WritePing(false, [8]byte{})
			p.wants("PING true")
		},
		"close": func(p *peer) { p.c.Close() },
	} {
		p := dial(t, addr)
		p.ask(false, ":method=POST")
		<-begun
		leave(p)
		select {
		case err := <-causes:
			if !errors.Is(err, h1.ErrGone) {
				t.Errorf("%s: cause %v", name, err)
			}
		case <-time.After(testkit.Patience):
			t.Fatalf("%s: not noticed", name)
		}
	}
}

// TestABodyIsInertOnceItsHandlerHasReturned.
func TestABodyIsInertOnceItsHandlerHasReturned(t *testing.T) {
	bodies := make(chan io.Reader, 2)
	p := dial(t, serve(t, &h2.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { bodies <- r.Body })}, wire.Options{}, new(anybody)))
	n := p.ask(false, ":method=POST")
	p.fr.WriteData(n, false, []byte("x"))
	p.wants("RST_STREAM 1 NO_ERROR")
	p.fr.WriteData(n, true, []byte("y")) // which was on its way
	p.alive()
	if n, err := (<-bodies).Read(make([]byte, 9)); n > 0 || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestABodyIsWholeOnceItsClientHasEndedIt: of one whose length was announced the last byte
// comes with its end, so that what is longer, or given up, is whole for nobody who counts.
func TestABodyIsWholeOnceItsClientHasEndedIt(t *testing.T) {
	type read struct {
		text string
		err  error
	}
	bodies := make(chan read, 1)
	p := dial(t, serve(t, &h2.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b := make([]byte, 5)
		if n, err := io.ReadFull(r.Body, b); r.Method == http.MethodPost { // as one reads who sends it on
			bodies <- read{string(b[:n]), err}
		}
	})}, wire.Options{}, new(anybody)))
	for what, c := range map[string]struct {
		then func(id uint32)
		want string
	}{
		"the end, alone": {func(id uint32) { p.fr.WriteData(id, true, nil) }, "hello"},
		"too much":       {func(id uint32) { p.fr.WriteData(id, true, []byte("!")) }, ""},
		"given up":       {func(id uint32) { p.fr.WriteRSTStream(id, x.ErrCodeCancel) }, ""},
		"trailers": {func(id uint32) {
			p.block.Reset()
			p.fr.WriteHeaders(x.HeadersFrameParam{StreamID: id, BlockFragment: p.some("x-sum=1"), EndStream: true, EndHeaders: true})
		}, "hello"},
	} {
		id := p.ask(false, ":method=POST", "content-length=5")
		p.fr.WriteData(id, false, []byte("hello"))
		p.alive() // the server has it
		select {
		case got := <-bodies:
			t.Fatalf("%s: %q, %v, before the client has ended it", what, got.text, got.err)
		default:
		}
		c.then(id)
		got := <-bodies
		if c.want != "" && (got.text != c.want || got.err != nil) || c.want == "" && (len(got.text) > 4 || got.err == nil) {
			t.Errorf("%s: %q, %v", what, got.text, got.err)
		}
	}
}

// TestDeadlines are exact, and end only what they are for.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took := make(chan string, 10)
		srv := &h2.Server{BodyStall: time.Minute, WriteStall: time.Hour, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rc, began := http.NewResponseController(w), time.Now()
			var err error
			switch r.URL.Path {
			case "/read":
				rc.SetReadDeadline(began.Add(3 * time.Second))
				_, err = r.Body.Read(make([]byte, 1))
				first := time.Since(began)
				rc.SetReadDeadline(time.Time{})
				if n, err := r.Body.Read(make([]byte, 1)); n != 1 || err != nil {
					t.Errorf("behind a deadline: %d, %v", n, err)
				}
				began = began.Add(time.Since(began) - first)
			case "/write":
				rc.SetWriteDeadline(began.Add(5 * time.Second))
				_, err = w.Write(make([]byte, 1<<20))
			case "/stall":
				_, err = r.Body.Read(make([]byte, 1))
				if !errors.Is(context.Cause(r.Context()), os.ErrDeadlineExceeded) {
					t.Errorf("a stall ends nothing: %v", context.Cause(r.Context()))
				}
			}
			took <- fmt.Sprint(r.URL.Path, " ", time.Since(began), " ", errors.Is(err, os.ErrDeadlineExceeded))
		})}
		p, end := pipe(t, srv, x.Setting{ID: x.SettingInitialWindowSize, Val: 0})
		defer end()
		n := p.ask(false, ":method=POST", ":path=/read")
		time.Sleep(4 * time.Second) // in a bubble: the deadline passes
		p.fr.WriteData(n, true, []byte("x"))
		for _, want := range []string{"/read 3s true", "/write 5s true", "/stall 1m0s true"} {
			if path, _, _ := strings.Cut(want, " "); path != "/read" {
				p.ask(false, ":method=POST", ":path="+path)
			}
			if got := <-took; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		p.wants(fmt.Sprintf("RST_STREAM %d CANCEL", n+2))
	})
}

// TestStreamsTakeTurns: of 100 answers none is served twice as fast as another; what is
// urgent goes first, and what is of use as a whole only goes as a whole.
func TestStreamsTakeTurns(t *testing.T) {
	var ready sync.WaitGroup
	body := bytes.Repeat([]byte("x"), 200<<10)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.(http.Flusher).Flush()
		ready.Done()
		w.Write(body)
	})
	for name, c := range map[string]struct {
		ask   func(p *peer, i int)
		judge func(order []uint32, sent map[uint32]int) string
	}{
		"all alike": {func(p *peer, i int) { p.ask(true) }, func(order []uint32, sent map[uint32]int) string {
			least, most := 1<<30, 0
			for id := uint32(1); id < 200; id += 2 {
				least, most = min(least, sent[id]), max(most, sent[id])
			}
			if most > 2*least {
				return fmt.Sprintf("between %d and %d bytes", least, most)
			}
			return ""
		}},
		"the last is urgent": {func(p *peer, i int) { p.ask(true, fmt.Sprintf("priority=u=%d,i", 3-i/99)) }, func(order []uint32, sent map[uint32]int) string {
			if sent[199] != len(body) {
				return fmt.Sprintf("%d bytes of the urgent one", sent[199])
			}
			return ""
		}},
		"one after the other": {func(p *peer, i int) { p.ask(true, "priority=u=3") }, func(order []uint32, sent map[uint32]int) string {
			if sent[1] != len(body) || sent[199] != 0 {
				return fmt.Sprintf("%d bytes of the first, %d of the last", sent[1], sent[199])
			}
			return ""
		}},
	} {
		t.Run(name, func(t *testing.T) {
			ready.Add(100)
			p := dial(t, serve(t, &h2.Server{Handler: handler}, wire.Options{}, new(anybody)), x.Setting{ID: x.SettingInitialWindowSize, Val: 1 << 20})
			p.wants("SETTINGS true")
			// The connection's window is used up before the first byte that counts.
			p.fr.WriteSettings(x.Setting{ID: x.SettingInitialWindowSize, Val: 0})
			p.wants("SETTINGS true")
			for i := range 100 {
				c.ask(p, i)
			}
			ready.Wait()
			p.fr.WriteWindowUpdate(0, 10<<20-65535)
			p.fr.WriteSettings(x.Setting{ID: x.SettingInitialWindowSize, Val: 1 << 20})
			sent := map[uint32]int{}
			var order []uint32
			for total := 0; total < 10<<20-200<<10*5 && total < 8<<20; {
				var id uint32
				got := p.wants("DATA ")
				fmt.Sscanf(got, "DATA %d", &id)
				n := strings.Count(got, "x")
				sent[id] += n
				total += n
				order = append(order, id)
			}
			if wrong := c.judge(order, sent); wrong != "" {
				t.Error(wrong)
			}
		})
	}
}

// TestTheEndInTwoSteps: who is told to leave has what is on its way answered, and what comes
// later not.
func TestTheEndInTwoSteps(t *testing.T) {
	release := make(chan bool)
	srv := &h2.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			<-release
		}
	})}
	addr := serve(t, srv, wire.Options{}, new(anybody))
	p, idle := dial(t, addr), dial(t, addr)
	p.ask(true, ":path=/wait")
	idle.alive()
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(context.Background()) }()
	p.wants("GOAWAY 2147483647 NO_ERROR")
	ping := p.wantsPing()
	p.alive() // it was on its way
	p.fr.WritePing(true, ping)
	p.wants("GOAWAY 3 NO_ERROR")
	p.ask(true) // too late
	idle.ends()
	close(release)
	p.wants("HEADERS 1 :status=200")
	p.ends()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func (p *peer) wantsPing() (data [8]byte) {
	p.t.Helper()
	copy(data[:], strings.TrimPrefix(p.wants("PING false "), "PING false "))
	return data
}

// TestIdleConnectionsEnd once nothing was asked for long enough, whatever else they say.
func TestIdleConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, end := pipe(t, &h2.Server{Handler: http.NotFoundHandler()})
		defer end()
		p.alive()
		began := time.Now()
		var pings sync.WaitGroup
		defer pings.Wait()
		pings.Go(func() {
			for range 10 {
				time.Sleep(9 * time.Second) // in a bubble
				p.fr.WritePing(false, [8]byte{})
			}
		})
		if last := p.ends(); last != "GOAWAY 1 NO_ERROR" {
			t.Errorf("the connection ends with %q", last)
		}
		if took := time.Since(began); took < time.Minute || took > 62*time.Second {
			t.Errorf("after %v, want a minute", took)
		}
	})
}

// TestSilentClients: who says nothing while something is answered is asked whether it is
// there, and holds nothing once it has not answered for as long as it may take nothing. One
// that answers, or says anything else, is not given up.
func TestSilentClients(t *testing.T) {
	for name, c := range map[string]struct {
		alive func(p *peer, ping [8]byte) // what the client says
		stall time.Duration
		want  time.Duration // when its request ends; 0: not before it leaves
	}{
		"dead":                   {nil, 2 * time.Minute, 150 * time.Second},
		"answers":                {func(p *peer, ping [8]byte) { p.fr.WritePing(true, ping) }, 2 * time.Minute, 0},
		"says something else":    {func(p *peer, _ [8]byte) { p.fr.WriteWindowUpdate(0, 1) }, 2 * time.Minute, 0},
		"may be silent for ever": {nil, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				ended := make(chan error, 1)
				p, end := pipe(t, &h2.Server{WriteStall: c.stall, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					<-r.Context().Done()
					ended <- context.Cause(r.Context())
				})})
				p.ask(true)
				var asked sync.WaitGroup
				asked.Go(func() {
					for got := range p.frames {
						if data, ok := strings.CutPrefix(got, "PING false "); ok && c.alive != nil {
							c.alive(p, [8]byte([]byte(data)))
						}
					}
				})
				took := 10 * time.Minute
				select {
				case err := <-ended:
					if took = time.Since(began); !errors.Is(err, h1.ErrGone) {
						t.Errorf("ended by %v", err)
					}
				case <-time.After(took):
					if c.want != 0 {
						t.Error("its request is still there")
					}
				}
				if c.want != 0 && (took < c.want || took > c.want+5*time.Second) || c.want == 0 && took != 10*time.Minute {
					t.Errorf("its request has ended after %v, want %v", took, c.want)
				}
				end()
				asked.Wait()
			})
		})
	}
}

// TestIdleConnectionsPark: they have no goroutine, and are served when something comes.
func TestIdleConnectionsPark(t *testing.T) {
	srv := &h2.Server{Handler: http.NotFoundHandler()}
	p := dial(t, serve(t, srv, wire.Options{ParkAfter: time.Millisecond, Tick: time.Millisecond}, new(anybody)))
	for range 5 {
		p.alive()
		testkit.Within(t, testkit.Patience, "the connection parks", func() bool { return srv.Parked() == 1 })
	}
}

// TestClients of others: what they send is served, large and small, many at once.
func TestClients(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	addr := serve(t, &h2.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Sum")
		n, err := io.Copy(w, r.Body)
		w.Header().Set("Sum", fmt.Sprint(n, err))
	})}, wire.Options{}, new(anybody))
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			body := big[:len(big)>>(i%18)]
			res, err := client.Post("http://"+addr+"/", "text/plain", bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			got, err := io.ReadAll(res.Body)
			if !bytes.Equal(got, body) || err != nil || res.ProtoMajor != 2 || res.Trailer.Get("Sum") != fmt.Sprintf("%d <nil>", len(body)) {
				t.Errorf("%d of %d bytes, %v, %v", len(got), len(body), err, res.Trailer)
			}
		})
	}
	wg.Wait()
}

// TestCloseEndsRequests, whatever their handlers wait for, and what they hold of the client.
func TestCloseEndsRequests(t *testing.T) {
	begun, ended := make(chan bool), make(chan error, 3)
	srv := &h2.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun <- true
		var err error
		switch r.URL.Path {
		case "/wait":
			<-r.Context().Done()
			err = context.Cause(r.Context())
		case "/read":
			_, err = r.Body.Read(make([]byte, 1))
		case "/write":
			_, err = w.Write(make([]byte, 1<<20))
		}
		ended <- err
	})}
	p := dial(t, serve(t, srv, wire.Options{}, new(anybody)))
	for _, path := range []string{"/wait", "/read", "/write"} {
		p.ask(false, ":method=POST", ":path="+path)
		<-begun
	}
	srv.Close()
	for range 3 {
		if err := <-ended; err == nil {
			t.Error("ended by nothing")
		}
	}
	p.ends()
}
