package balancer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// writes answers with page.
func writes(page []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) }
}

// ask returns p's answer to a visitor, of which nothing has been taken yet.
func ask(t *testing.T, p *Pool, edits ...func(*http.Request)) *http.Response {
	t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	for _, edit := range edits {
		edit(r)
	}
	res, err := p.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

// begin takes the first KiB of an answer, so that its client counts as slow from
// then on.
func begin(t *testing.T, res *http.Response) {
	t.Helper()
	if _, err := io.ReadFull(res.Body, make([]byte, 1024)); err != nil {
		t.Fatal(err)
	}
}

// inHand returns how many places of p's only backend are held.
func inHand(p *Pool) int { return p.Backends()[0].InFlight + p.Backends()[0].Streams }

// TestASlowReaderOfALongAnswerHoldsNoBackend, nor memory: what it does not take is
// on the disk until it does, to the byte.
func TestASlowReaderOfALongAnswerHoldsNoBackend(t *testing.T) {
	for _, size := range []int{bufferEach - 1, bufferEach, bufferEach + 1, bufferEach + bufferSize, 3 << 20, 5<<20 + 1} {
		for _, pace := range []string{"a KiB a second", "nothing for long"} {
			t.Run(fmt.Sprintf("%d bytes, %s", size, pace), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					page, dir := filled(size), t.TempDir()
					p := newPool(t, here(writes(page)), Options{Spool: Spool{Dir: dir}})
					done := make(chan []byte)
					go func() {
						r := httptest.NewRequest("GET", "/", nil)
						if pace == "a KiB a second" {
							got, err := sip(p, r)
							if err != nil {
								t.Error(err)
							}
							done <- got
							return
						}
						res, err := p.RoundTrip(r)
						if err != nil {
							t.Error(err)
							done <- nil
							return
						}
						var got bytes.Buffer
						_, _ = io.CopyN(&got, res.Body, 1)
						time.Sleep(time.Hour)
						if _, err = got.ReadFrom(res.Body); err != nil {
							t.Error(err)
						}
						_ = res.Body.Close()
						done <- got.Bytes()
					}()
					time.Sleep(time.Second)
					synctest.Wait()
					if n := inHand(p); n != 0 {
						t.Errorf("%d places are held", n)
					}
					m, d := p.depot.answers.Held(), p.depot.disk.Held()
					if m > bufferEach || d > 0 && m > bufferSize || d > int64(size)+bufferSize || size > bufferEach+2*bufferSize && d == 0 {
						t.Errorf("%d bytes are held in memory, %d on the disk", m, d)
					}
					if list, _ := os.ReadDir(dir); len(list) > 0 {
						t.Errorf("a file has a name: %v", list)
					}
					if got := <-done; !bytes.Equal(got, page) {
						t.Errorf("got %d bytes, not the page", len(got))
					}
					empty(t, p)
				})
			})
		}
	}
}

// TestWhatMustNotBeDelayedIsNotOnTheDisk, however slowly it is read.
func TestWhatMustNotBeDelayedIsNotOnTheDisk(t *testing.T) {
	for name, h := range map[string]http.Header{
		"events":             {"Content-Type": {"text/event-stream; charset=utf-8"}},
		"gRPC":               {"Content-Type": {"application/grpc+proto"}},
		"not to be buffered": {"X-Accel-Buffering": {"no"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, here(func(w http.ResponseWriter, r *http.Request) {
					for k, v := range h {
						w.Header()[k] = v
					}
					writes(filled(3<<20))(w, r)
				}), Options{Spool: Spool{Dir: t.TempDir()}})
				res := ask(t, p)
				begin(t, res)
				time.Sleep(time.Minute)
				if n, d := inHand(p), p.depot.disk.Held(); n != 1 || d != 0 {
					t.Errorf("%d places are held, %d bytes are on the disk", n, d)
				}
				_ = res.Body.Close()
				empty(t, p)
			})
		})
	}
}

// TestAClientThatKeepsUpHasNoFile, although the server is faster, and was not at
// first.
func TestAClientThatKeepsUpHasNoFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log atomic.Int64
		page := filled(20 << 20)
		p := newPool(t, here(func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			time.Sleep(2 * holdTime)
			writes(page)(w, r)
		}), Options{Spool: Spool{Dir: "/nonexistent"}, Logger: slog.New(slog.NewTextHandler(counter{&log}, nil))})
		res := ask(t, p)
		var got bytes.Buffer
		for buf := make([]byte, bufferSize); ; time.Sleep(slowAfter / 2) {
			n, err := res.Body.Read(buf)
			got.Write(buf[:n])
			if err != nil {
				break
			}
		}
		if !bytes.Equal(got.Bytes(), page) || log.Load() > 0 {
			t.Errorf("got %d bytes; the disk was asked %d times", got.Len(), log.Load())
		}
		_ = res.Body.Close()
		empty(t, p)
	})
}

// TestAnswersWithoutRoom go through as they are taken, and the log says now and
// then why if it is the disk that fails.
func TestAnswersWithoutRoom(t *testing.T) {
	for name, spool := range map[string]Spool{"none allowed": {Bytes: -1}, "less than a page": {Bytes: 4 << 20}, "no such directory": {Dir: "/nonexistent"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log atomic.Int64
				if spool.Dir == "" {
					spool.Dir = t.TempDir()
				}
				page := filled(6 << 20)
				p := newPool(t, here(writes(page)), Options{Spool: spool, Logger: slog.New(slog.NewTextHandler(counter{&log}, nil))})
				const clients = 8
				var all []*http.Response
				for range clients {
					all = append(all, ask(t, p))
					begin(t, all[len(all)-1])
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if n := inHand(p); n != clients {
					t.Errorf("%d places are held", n)
				}
				if m, d := p.depot.answers.Held(), p.depot.disk.Held(); m > clients*bufferEach || d > max(spool.Bytes, 0)/4 {
					t.Errorf("%d bytes are held in memory, %d on the disk", m, d)
				}
				if n := log.Load(); n > 65 || (n > 0) != (name == "no such directory") {
					t.Errorf("%d lines in the log", n)
				}
				for _, res := range all {
					if rest, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(rest, page[1024:]) {
						t.Errorf("got %d bytes, %v", len(rest), err)
					}
					_ = res.Body.Close()
				}
				empty(t, p)
			})
		})
	}
}

// counter counts the lines that tell of the disk.
type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("see Options.Spool")) {
		c.n.Add(1)
	}
	return len(p), nil
}

// TestRoomThatComesFreeIsUsed, for clients too that take nothing.
func TestRoomThatComesFreeIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, here(writes(filled(3<<20))), Options{Spool: Spool{Dir: t.TempDir()}})
		var others netip.Addr
		p.depot.answers.Take(others, bufferTotal, bufferTotal, 0)
		p.depot.disk.Take(others, spoolDisk, spoolDisk, 0)
		res := ask(t, p, from(1))
		begin(t, res)
		time.Sleep(time.Minute)
		if n := inHand(p); n != 1 {
			t.Errorf("without room %d places are held", n)
		}
		p.depot.disk.Give(others, spoolDisk) // memory is still full
		time.Sleep(2 * roomAfter)
		synctest.Wait()
		if n, m := inHand(p), p.depot.answers.Held()-bufferTotal; n != 0 || m != 0 {
			t.Errorf("with room on the disk %d places are held, and %d bytes of memory", n, m)
		}
		if rest, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(rest, filled(3 << 20)[1024:]) {
			t.Errorf("got %d bytes, %v", len(rest), err)
		}
		_ = res.Body.Close()
		p.depot.answers.Give(others, bufferTotal)
		empty(t, p)
	})
}

// TestOneClientHasAQuarterOfWhatIsKept of answers in memory and, with its
// uploads, on the disk: and as many answers as fit into that hold no place.
func TestOneClientHasAQuarterOfWhatIsKept(t *testing.T) {
	for name, c := range map[string]struct {
		size, clients, hold int
		length              bool
		spool               Spool
		held                func(*depot) int64
		most                int64
	}{
		"memory":               {900 << 10, 40, 40, true, Spool{Bytes: -1}, func(d *depot) int64 { return d.answers.Held() }, bufferTotal / 4},
		"disk":                 {3 << 20, 40, 19, true, Spool{Bytes: 256 << 20}, func(d *depot) int64 { return d.disk.Held() }, 64 << 20},
		"disk, length unknown": {3 << 20, 40, 20, false, Spool{Bytes: 256 << 20}, func(d *depot) int64 { return d.disk.Held() }, 64 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.spool.Dir = t.TempDir()
				p := newPool(t, here(func(w http.ResponseWriter, r *http.Request) {
					if c.length {
						w.Header().Set("Content-Length", strconv.Itoa(c.size))
					}
					writes(filled(c.size))(w, r)
				}), Options{Spool: c.spool})
				var all []*http.Response
				for range c.clients {
					all = append(all, ask(t, p, from(1)))
					begin(t, all[len(all)-1])
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				n, held := inHand(p), c.held(&p.depot)
				if n > c.hold || held > c.most || held < c.most-4<<20 {
					t.Errorf("%d places and %d bytes are held", n, held)
				}
				other := ask(t, p, from(2))
				begin(t, other)
				time.Sleep(time.Second)
				synctest.Wait()
				if inHand(p) != n {
					t.Error("another client's answer holds a place")
				}
				for _, res := range append(all, other) {
					_ = res.Body.Close()
				}
				empty(t, p)
			})
		})
	}
}

// TestWhatCannotBeKeptAsAWholeIsNotOnTheDisk: it would hold its place all the same,
// and take the room of others.
func TestWhatCannotBeKeptAsAWholeIsNotOnTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, here(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(fileEach+4<<20))
			for page := filled(1 << 20); ; {
				if _, err := w.Write(page); err != nil {
					return
				}
			}
		}), Options{Spool: Spool{Dir: t.TempDir(), Bytes: 16 << 30}})
		res := ask(t, p, from(1))
		begin(t, res)
		time.Sleep(time.Minute)
		if n, d := inHand(p), p.depot.disk.Held(); n != 1 || d != 0 {
			t.Errorf("%d places are held, %d bytes are on the disk", n, d)
		}
		_ = res.Body.Close()
		empty(t, p)
	})
}

// TestAnAnswerWithoutEndIsBounded: it is kept as far as there is room, and goes on
// when its client has taken that.
func TestAnAnswerWithoutEndIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := filled(1 << 20)
		p := newPool(t, here(func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(page); err != nil {
					return
				}
			}
		}), Options{Spool: Spool{Dir: t.TempDir(), Bytes: 32 << 20}})
		res := ask(t, p, from(1))
		for range 5 {
			got := make([]byte, 20<<20)
			if _, err := io.ReadFull(res.Body, got); err != nil || !bytes.Equal(got, bytes.Repeat(page, 20)) {
				t.Fatalf("not what was sent: %v", err)
			}
			time.Sleep(time.Minute)
			if d := p.depot.disk.Held(); inHand(p) != 1 || d > 8<<20 || d < 6<<20 {
				t.Errorf("%d places are held, %d bytes are on the disk", inHand(p), d)
			}
		}
		_ = res.Body.Close()
		empty(t, p)
		if n := p.Backends()[0].Failures; n != 0 {
			t.Errorf("a client that left is %d failures of the backend", n)
		}
	})
}

// TestAnAbortSurvivesTheDisk: the client gets what came, and then learns that it
// is not all.
func TestAnAbortSurvivesTheDisk(t *testing.T) {
	for _, size := range []int{2<<20 - 1, 3 << 20, 3<<20 + 1} {
		synctest.Test(t, func(t *testing.T) {
			page := filled(size)
			p := newPool(t, here(func(w http.ResponseWriter, r *http.Request) {
				writes(page)(w, r)
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}), Options{Spool: Spool{Dir: t.TempDir()}})
			got, err := sip(p, httptest.NewRequest("GET", "/", nil))
			if err == nil || !bytes.Equal(got, page) {
				t.Errorf("got %d of %d bytes, %v", len(got), size, err)
			}
			if n := p.Backends()[0].Failures; n != 1 {
				t.Errorf("%d failures, want 1", n)
			}
			empty(t, p)
		})
	}
}

// TestAClientThatLeavesFreesTheDisk, whenever it does, and it is not the
// backend's fault.
func TestAClientThatLeavesFreesTheDisk(t *testing.T) {
	for _, after := range []time.Duration{0, slowAfter, 2*slowAfter - 1, 2 * slowAfter, 2*slowAfter + 1, time.Second} {
		for _, trickles := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, here(func(w http.ResponseWriter, r *http.Request) {
					writes(filled(3<<20))(w, r)
					for trickles && r.Context().Err() == nil {
						if _, err := w.Write(filled(10_000)); err != nil {
							return
						}
						time.Sleep(time.Millisecond)
					}
				}), Options{Spool: Spool{Dir: t.TempDir()}})
				ctx, cancel := context.WithCancel(t.Context())
				res := ask(t, p, func(r *http.Request) { *r = *r.WithContext(ctx) })
				begin(t, res)
				time.Sleep(after)
				if trickles {
					cancel()
				}
				_ = res.Body.Close()
				cancel()
				if n, err := res.Body.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
					t.Errorf("afterwards: %d, %v", n, err)
				}
				empty(t, p)
				if n := p.Backends()[0].Failures; n != 0 || inHand(p) != 0 {
					t.Errorf("%d failures, %d places are held", n, inHand(p))
				}
			})
		}
	}
}

// TestADiskThatFillsUp in the middle of an answer costs nobody a byte of it.
func TestADiskThatFillsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := filled(8 << 20)
		p := newPool(t, here(func(w http.ResponseWriter, _ *http.Request) {
			for rest := page; len(rest) > 0; rest = rest[16<<10:] {
				_, _ = w.Write(rest[:16<<10])
				time.Sleep(time.Millisecond)
			}
		}), Options{Spool: Spool{Dir: t.TempDir()}})
		res := ask(t, p)
		begin(t, res)
		time.Sleep(300 * time.Millisecond)
		a := res.Body.(*ahead)
		a.mu.Lock()
		deaf, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", a.file.disk.Fd())) // takes no more
		if err != nil {
			a.mu.Unlock()
			t.Skip(err)
		}
		_ = a.file.disk.Close()
		a.file.disk = deaf
		a.mu.Unlock()
		time.Sleep(time.Minute)
		if n := inHand(p); n != 1 {
			t.Errorf("%d places are held", n)
		}
		if rest, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(rest, page[1024:]) {
			t.Errorf("got %d bytes, %v", len(rest), err)
		}
		_ = res.Body.Close()
		empty(t, p)
	})
}

// TestAnUploadThatIsLostOnTheDisk is no backend's fault, and no other is asked.
func TestAnUploadThatIsLostOnTheDisk(t *testing.T) {
	asked := 0
	loses := roundTrip(func(r *http.Request) (*http.Response, error) {
		asked++
		_ = r.Body.(*spoolReader).spool.file.disk.Close()
		_, err := io.Copy(io.Discard, r.Body)
		return nil, err
	})
	backends, way := ways(loses, loses)
	p := newPool(t, backends, Options{Transport: way, Spool: Spool{Dir: t.TempDir()}})
	if w := get(p, "PUT", "/", bytes.NewReader(filled(3<<20)), header("Idempotency-Key", "1")); w.Code != 502 || asked != 1 {
		t.Errorf("got %d, asked %d times", w.Code, asked)
	}
	for _, s := range p.Backends() {
		if s.Failures != 0 || s.InFlight != 0 {
			t.Errorf("%s is blamed, or kept: %+v", s.Name, s)
		}
	}
	if m, d := p.depot.memory.Held(), p.depot.disk.Held(); m != 0 || d != 0 {
		t.Errorf("afterwards %d bytes are held in memory, %d on the disk", m, d)
	}
}

// TestNothingIsMixedUp between memory, disk and what goes through, whoever is
// faster when.
func TestNothingIsMixedUp(t *testing.T) {
	page := filled(6<<20 + 12345)
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			uneven := func(seed uint64, most int) func() (int, time.Duration) {
				rnd := rand.New(rand.NewPCG(seed, uint64(most)))
				return func() (int, time.Duration) {
					n := 1 + rnd.IntN(most)
					switch rnd.IntN(8) {
					case 0:
						return n, time.Duration(rnd.IntN(100)) * time.Millisecond
					case 1, 2:
						return n, time.Duration(rnd.IntN(3)) * time.Millisecond
					}
					return n, 0
				}
			}
			p := newPool(t, here(func(w http.ResponseWriter, _ *http.Request) {
				next := uneven(seed, 200<<10)
				for rest := page; len(rest) > 0; {
					n, pause := next()
					n = min(n, len(rest))
					_, _ = w.Write(rest[:n])
					rest = rest[n:]
					time.Sleep(pause)
				}
			}), Options{Spool: Spool{Dir: t.TempDir(), Bytes: 16 << 20}})
			if seed%3 == 0 {
				p.depot.answers.Take(netip.Addr{}, bufferTotal, bufferTotal, 0) // all is on the disk at once
			}
			res := ask(t, p, from(1))
			next := uneven(seed+1, 100<<10)
			var got bytes.Buffer
			for {
				n, pause := next()
				buf := make([]byte, n)
				n, err := res.Body.Read(buf)
				got.Write(buf[:n])
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(pause)
			}
			if !bytes.Equal(got.Bytes(), page) {
				t.Errorf("seed %d: got %d bytes, not the page", seed, got.Len())
			}
			_ = res.Body.Close()
			if seed%3 == 0 {
				p.depot.answers.Give(netip.Addr{}, bufferTotal)
			}
			empty(t, p)
		})
	}
}
