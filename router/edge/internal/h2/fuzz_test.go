package h2_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	x "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge/internal/h2"
	"github.com/foretier/foretier/router/edge/internal/wire"
)

// FuzzFrames: whatever comes, the server ends when its client does, no handler is left, and
// none sees a request that HTTP/1 could not carry.
func FuzzFrames(f *testing.F) {
	var b bytes.Buffer
	fr := x.NewFramer(&b, nil)
	fr.AllowIllegalWrites = true
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, field := range []string{":method=POST", ":scheme=https", ":authority=a", ":path=/", "trailer=b"} {
		name, value, _ := strings.Cut(field, "=")
		enc.WriteField(hpack.HeaderField{Name: name, Value: value})
	}
	ask := func(id uint32, end bool) {
		fr.WriteHeaders(x.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: end, EndHeaders: true})
	}
	seed := func(say func()) {
		b.Reset()
		fr.WriteSettings()
		say()
		f.Add(bytes.Clone(b.Bytes()))
	}
	seed(func() { ask(1, true); ask(3, false); fr.WriteData(3, true, []byte("x")) })
	seed(func() { ask(1, false); fr.WriteRSTStream(1, 8); ask(3, false); fr.WriteData(1, false, []byte("x")) })
	seed(func() { ask(1, false); ask(1, true); fr.WriteWindowUpdate(1, 1<<31-1); fr.WriteWindowUpdate(1, 0) })
	seed(func() {
		fr.WriteSettings(x.Setting{ID: 4, Val: 0})
		ask(1, true)
		fr.WriteSettings(x.Setting{ID: 4, Val: 1}, x.Setting{ID: 1, Val: 0})
	})
	seed(func() {
		fr.WritePing(false, [8]byte{})
		fr.WriteGoAway(0, 0, nil)
		fr.WritePriority(1, x.PriorityParam{StreamDep: 1})
		ask(2, true)
	})
	seed(func() {
		fr.WriteHeaders(x.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes()[:3]})
		fr.WriteContinuation(1, true, block.Bytes()[3:])
	})
	f.Fuzz(func(t *testing.T, said []byte) {
		var running atomic.Int32
		srv := &h2.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			running.Add(1)
			defer running.Add(-1)
			for name, values := range r.Header {
				if strings.ContainsAny(name+strings.Join(values, ""), "\r\n\x00") {
					t.Errorf("field %q: %q", name, values)
				}
			}
			io.Copy(w, r.Body)
			w.Write(make([]byte, 100))
		})}
		prepare(srv)
		here, there := net.Pipe()
		set := wire.NewSet(wire.Options{})
		defer set.Close()
		c := set.Add(there)
		done := make(chan bool)
		go func() {
			defer close(done)
			srv.Serve(context.Background(), c, c, nil, new(anybody))
		}()
		go io.Copy(io.Discard, here)
		_ = here.SetWriteDeadline(time.Now().Add(testkit.Patience))
		io.WriteString(here, x.ClientPreface)
		here.Write(said)
		here.Close()
		<-done
		if err := srv.Shutdown(context.Background()); err != nil || running.Load() != 0 {
			t.Errorf("%v, %d handlers run", err, running.Load())
		}
	})
}

// TestAnythingInAnyOrder: a client that does whatever a client may, and is as slow as it
// likes, gets each answer whole or sees that it is not.
func TestAnythingInAnyOrder(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 8<<10)
	var running atomic.Int32
	srv := &h2.Server{Streams: 20, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running.Add(1)
		defer running.Add(-1)
		switch r.URL.Path {
		case "/echo":
			io.Copy(w, r.Body)
		case "/half":
			w.Write(body[:1000])
			panic(http.ErrAbortHandler)
		case "/flush":
			for i := 0; i < 20_000; i += 1000 {
				w.Write(body[i : i+1000])
				w.(http.Flusher).Flush()
			}
		default:
			w.Write(body)
		}
	})}
	addr := serve(t, srv, wire.Options{}, new(anybody))
	for range 4 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		p := dial(t, addr, x.Setting{ID: x.SettingInitialWindowSize, Val: uint32(rng.IntN(100_000))})
		p.fr.WriteWindowUpdate(0, 1<<30)
		open := map[uint32]string{}
		got := map[uint32]int{}
		goodbye := ""
		settle := func(wait bool) {
			for wait || len(p.frames) > 0 {
				select {
				case frame, ok := <-p.frames:
					if !ok {
						t.Fatalf("seed %d: the connection has ended (%s); open: %v", seed, goodbye, open)
					}
					kind, rest, _ := strings.Cut(frame, " ")
					id, data, _ := strings.Cut(rest, " ")
					n := atoi(id)
					switch path := open[n]; {
					case kind == "GOAWAY":
						goodbye = frame
					case kind == "RST_STREAM", kind == "HEADERS" && strings.HasSuffix(frame, " END"): // of an empty body
						delete(open, n)
					case kind == "DATA":
						data, ends := strings.CutSuffix(data, " END")
						if path != "" && path != "/echo" && !strings.HasPrefix(string(body[got[n]:]), data) {
							t.Fatalf("seed %d: %s: other bytes at %d", seed, path, got[n])
						}
						got[n] += len(data)
						p.fr.WriteWindowUpdate(n, uint32(max(1, len(data))))
						if ends {
							if want := map[string]int{"/": len(body), "/flush": 20_000}[path]; want > 0 && got[n] != want || path == "/half" {
								t.Fatalf("seed %d: %s has ended behind %d bytes", seed, path, got[n])
							}
							delete(open, n)
						}
					}
					if wait && len(open) == 0 {
						return
					}
				case <-time.After(testkit.Patience):
					t.Fatalf("seed %d: nothing comes; open: %v", seed, open)
				}
			}
		}
		for range 400 {
			switch rng.IntN(6) {
			case 0, 1:
				if len(open) < 15 {
					path := []string{"/", "/flush", "/half"}[rng.IntN(3)]
					open[p.ask(true, ":path="+path)] = path
				}
			case 2:
				if len(open) < 15 {
					n := p.ask(false, ":method=POST", ":path=/echo")
					open[n] = "/echo"
					for range rng.IntN(4) { // within the windows, whatever is not read yet
						p.fr.WriteData(n, false, body[:rng.IntN(4000)])
					}
					p.fr.WriteData(n, true, nil)
				}
			case 3:
				for n := range open {
					p.fr.WriteRSTStream(n, x.ErrCodeCancel)
					delete(open, n)
					break
				}
			case 4:
				p.fr.WriteSettings(x.Setting{ID: x.SettingInitialWindowSize, Val: uint32(rng.IntN(200_000))})
			case 5:
				for n := range open {
					p.fr.WriteWindowUpdate(n, uint32(1+rng.IntN(10_000)))
				}
			}
			settle(false)
		}
		p.fr.WriteSettings(x.Setting{ID: x.SettingInitialWindowSize, Val: 1 << 20})
		if len(open) > 0 {
			settle(true)
		}
		p.c.Close()
	}
	testkit.Within(t, testkit.Patience, "no handler runs", func() bool { return running.Load() == 0 })
}

func atoi(s string) (n uint32) {
	for i := range len(s) {
		n = n*10 + uint32(s[i]-'0')
	}
	return n
}
