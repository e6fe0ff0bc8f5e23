package edge

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/testkit"
)

// TestLogWriterWaitsForNobody: while the reader stands still, lines are kept up
// to a bound and then dropped, counted and told.
func TestLogWriterWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		var lw *LogWriter
		lw = NewLogWriter(w, func(n uint64) {
			if n == 0 {
				t.Error("nothing is told")
			}
			lw.Write([]byte("lost\n"))
		})
		line := []byte(strings.Repeat("x", 1023) + "\n")
		for range 2000 {
			lw.Write(line)
		}
		if err := lw.Close(); err != nil { // gives up
			t.Error(err)
		}
		dropped := lw.Report().Metrics[0].Value
		if dropped < 900 {
			t.Errorf("%g lines are dropped", dropped)
		}
		var all bytes.Buffer
		var wg sync.WaitGroup
		wg.Go(func() { io.Copy(&all, r) })
		lw.Close()
		w.Close()
		wg.Wait()
		if got := bytes.Count(all.Bytes(), line); float64(got) != 2000-dropped {
			t.Errorf("%d lines of 2000 came, %g are dropped", got, dropped)
		}
		if bytes.Count(all.Bytes(), []byte("lost\n")) != 1 {
			t.Error("the loss is not told once")
		}
	})
}

// TestLogWriterWritesManyLinesAtOnce: a tenth of a second late at most, at once when
// there are many, and all before Close returns.
func TestLogWriterWritesManyLinesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var writes sizes
		lw := NewLogWriter(&writes, nil)
		wants := func(what string, want ...int) {
			t.Helper()
			synctest.Wait()
			if got := writes.take(); !slices.Equal(got, want) {
				t.Errorf("%s: writes of %v bytes, want %v", what, got, want)
			}
		}
		line := []byte("0123456\n")
		for range 100 {
			lw.Write(line)
			time.Sleep(maxLate / 100)
		}
		wants("lines one by one", 800)
		time.Sleep(maxLate)
		wants("when there are none")
		lw.Write(line)
		wants("a line")
		time.Sleep(maxLate)
		wants("a line, later", 8)
		for range manyLines / 8 {
			lw.Write(line)
		}
		wants("many", manyLines)
		lw.Write(line)
		lw.Close()
		wants("closing", 8)
		lw.Write(line)
		time.Sleep(maxLate)
		wants("after closing", 8)
		lw.Close()
	})
}

// TestCombinedLogWhoseReaderStandsStill: requests go on.
func TestCombinedLogWhoseReaderStandsStill(t *testing.T) {
	r, w := io.Pipe()
	defer r.Close()
	var log testkit.Log
	s, err := New(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), Options{Addr: "127.0.0.1:0", Combined: w, Logger: log.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 5000 {
		req := httptest.NewRequest("GET", "/"+strings.Repeat("x", 500), nil)
		s.ServeHTTP(httptest.NewRecorder(), req)
	}
	if s.lines.Report().Metrics[0].Value == 0 {
		t.Error("no line is dropped")
	}
}

// sizes records how long each write is.
type sizes struct {
	mu sync.Mutex
	of []int // guarded by mu
}

func (s *sizes) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of = append(s.of, len(p))
	return len(p), nil
}

func (s *sizes) take() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.of
	s.of = nil
	return of
}
