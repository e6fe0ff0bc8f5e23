package edge_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/router/edge"
)

// page is a handler that states n bytes and writes them in pieces.
func page(n int, after func(written int, w http.ResponseWriter, r *http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(n))
		for written := 0; written < n; {
			m, err := io.WriteString(w, strings.Repeat("x", min(1000, n-written)))
			if written += m; err != nil {
				return
			}
			if after != nil {
				after(written, w, r)
			}
		}
	})
}

const getPage = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// piece is what one write of the server brings: over net.Pipe it ends a read.
func piece(t *testing.T, c io.Reader) []byte {
	t.Helper()
	b := make([]byte, 1<<20)
	n, err := c.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("read: %v", err)
	}
	return b[:n]
}

func TestPageGoesOutInOnePiece(t *testing.T) {
	var done atomic.Bool
	h := page(20_000, func(written int, _ http.ResponseWriter, _ *http.Request) {
		if done.Store(false); written == 20_000 {
			time.Sleep(time.Second) // what it still has to do
			done.Store(true)
		}
	})
	inBubble(t, h, edge.Options{}, func(l *pipeListener) {
		c := l.dial("192.0.2.1:1")
		defer c.Close()
		for range 2 {
			io.WriteString(c, getPage)
			got := piece(t, c)
			if !done.Load() {
				t.Error("the page went out before its handler had returned")
			}
			res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(got)), nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(res.Body); err != nil || len(body) != 20_000 {
				t.Errorf("%d bytes, %v", len(body), err)
				return
			}
		}
	})
}

func TestGatheringEnds(t *testing.T) {
	t.Run("with a flush", func(t *testing.T) {
		inBubble(t, page(3000, func(written int, w http.ResponseWriter, _ *http.Request) {
			if written == 1000 {
				http.NewResponseController(w).Flush()
				time.Sleep(time.Hour) // of the bubble's clock
			}
		}), edge.Options{}, func(l *pipeListener) {
			c := l.dial("192.0.2.1:1")
			defer c.Close()
			began := time.Now()
			io.WriteString(c, getPage)
			if got := piece(t, c); !bytes.HasSuffix(got, []byte("\n"+strings.Repeat("x", 1000))) {
				t.Errorf("flushed %d bytes", len(got))
			}
			if late := time.Since(began); late != 0 {
				t.Errorf("the first piece came after %v", late)
			}
			rest, _ := io.ReadAll(io.LimitReader(c, 2000))
			if len(rest) != 2000 {
				t.Errorf("then %d bytes", len(rest))
			}
		})
	})
	t.Run("before it begins, for who wants none", func(t *testing.T) {
		h := page(20_000, func(written int, _ http.ResponseWriter, _ *http.Request) {
			if written == 10_000 {
				time.Sleep(time.Hour)
			}
		})
		inBubble(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Accel-Buffering", "no")
			h.ServeHTTP(w, r)
		}), edge.Options{}, func(l *pipeListener) {
			c := l.dial("192.0.2.1:1")
			defer c.Close()
			began := time.Now()
			io.WriteString(c, getPage)
			if got := piece(t, c); len(got) < 1000 || time.Since(began) != 0 {
				t.Errorf("%d bytes after %v", len(got), time.Since(began))
			}
			_, _ = io.Copy(io.Discard, io.LimitReader(c, 18_000))
		})
	})
	t.Run("with more than is gathered", func(t *testing.T) {
		inBubble(t, page(200_000, nil), edge.Options{}, func(l *pipeListener) {
			c := l.dial("192.0.2.1:1")
			defer c.Close()
			io.WriteString(c, getPage)
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(res.Body); err != nil || len(body) != 200_000 {
				t.Errorf("%d bytes, %v", len(body), err)
			}
		})
	})
	t.Run("with a large head", func(t *testing.T) {
		inBubble(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "20000")
			for i := range 40 {
				w.Header().Set("X-Large-"+strconv.Itoa(i), strings.Repeat("h", 1000))
			}
			io.WriteString(w, strings.Repeat("x", 20_000))
		}), edge.Options{}, func(l *pipeListener) {
			c := l.dial("192.0.2.1:1")
			defer c.Close()
			io.WriteString(c, getPage)
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(res.Body); err != nil || len(body) != 20_000 || len(res.Header["X-Large-39"]) != 1 {
				t.Errorf("%d bytes, %v", len(body), err)
			}
		})
	})
}

// The standard server believes written what is held back. When the client does
// not take it, the next response must not follow.
func TestGatheredForAClientThatStalls(t *testing.T) {
	inBubble(t, page(20_000, nil), edge.Options{}, func(l *pipeListener) {
		c := l.dial("192.0.2.1:1")
		defer c.Close()
		io.WriteString(c, getPage+getPage)
		time.Sleep(119 * time.Second)
		synctest.Wait()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got, _ := io.ReadAll(c); len(got) > 0 {
			t.Errorf("%d bytes after the stall: %.40q", len(got), got)
		}
	})
}

// A file that is sent by the kernel comes after its head.
func TestGatherAndSendfile(t *testing.T) {
	name := t.TempDir() + "/file"
	if err := os.WriteFile(name, bytes.Repeat([]byte("f"), 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	srv := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) }), edge.Options{})
	for range 3 {
		res, err := http.Get("http://" + srv.Addr().String() + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || len(body) != 10_000 {
			t.Errorf("%d bytes, %v", len(body), err)
		}
		res.Body.Close()
	}
}
