package balancer

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/foretier/foretier/internal/fair"
	"github.com/foretier/foretier/internal/testkit"
)

// Seen in golang/go #28239, #27816, #40747. See also TestABrokenBodyAbortsTheClient
// and TestEventsAreNotHeldBack.
func TestAnAnswerBeforeTheEndOfTheRequestArrives(t *testing.T) {
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		fmt.Fprint(w, "too large")
	}))
	defer back.Close()
	front := httptest.NewServer(newPool(t, Backends(back.URL), Options{}))
	defer front.Close()
	body, feed := io.Pipe()
	go func() {
		_, _ = feed.Write(make([]byte, 1<<16)) // and it goes on for ever
	}()
	res, err := http.Post(front.URL, "application/octet-stream", body)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_ = feed.Close()
	if b, _ := io.ReadAll(res.Body); res.StatusCode != 413 || string(b) != "too large" {
		t.Errorf("got %d %q", res.StatusCode, b)
	}
	if !res.Close {
		t.Error("the connection goes on, with half a request on it")
	}
}

// What is left of a request that was answered early is no next request.
func TestTheRestOfARequestIsNoRequest(t *testing.T) {
	var paths atomic.Value
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths.Store(r.URL.Path)
		_ = http.NewResponseController(w).EnableFullDuplex() // to answer at once
		w.WriteHeader(http.StatusForbidden)
		_ = http.NewResponseController(w).Flush()
	}))
	defer back.Close()
	front := httptest.NewServer(newPool(t, Backends(back.URL), Options{}))
	defer front.Close()
	conn := testkit.Dial(t, front.Listener.Addr().String())
	defer conn.Close()
	_, err := io.WriteString(conn, "POST /upload HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != 403 || !res.Close {
		t.Fatalf("got %v, %v", res, err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_, _ = io.WriteString(conn, "zz\r\nGET /admin HTTP/1.1\r\nHost: shop.example\r\n\r\n")
	if rest, _ := io.ReadAll(in); len(rest) > 0 || paths.Load() != "/upload" {
		t.Errorf("then it answered %q, and the backend got %v", rest, paths.Load())
	}
}

// oldServer is a server of HTTP/1.0, which knows no chunks: it answers with the
// length that a body was announced with, and its hash.
func oldServer(c net.Conn, r *http.Request) {
	h := sha256.New()
	if len(r.TransferEncoding) == 0 {
		_, _ = io.Copy(h, r.Body)
	}
	fmt.Fprintf(c, "HTTP/1.0 200 OK\r\n\r\n%d %x %v", r.ContentLength, h.Sum(nil), r.Header["Trailer"])
}

// A backend that answered HTTP/1.0 gets no chunks but a length.
func TestUploadToHTTP10HasALength(t *testing.T) {
	old, _ := testkit.HTTPBackend(t, oldServer)
	p := newPool(t, Backends(old), Options{})
	if w := get(p, "GET", "/", nil); w.Code != 200 {
		t.Fatal(w.Code)
	}
	for _, n := range []int{0, 1, 100_000, 3 << 20} {
		body := strings.Repeat("x", n)
		want := fmt.Sprintf("%d %x []", n, sha256.Sum256([]byte(body)))
		w := get(p, "POST", "/", io.MultiReader(strings.NewReader(body)), func(r *http.Request) {
			r.ContentLength, r.Trailer = -1, http.Header{"X-Sum": nil}
		})
		if w.Code != 200 || w.Body.String() != want {
			t.Errorf("%d bytes: got %d %q, want %q", n, w.Code, w.Body, want)
		}
		if kept := p.depot.memory.Held() + p.depot.disk.Held(); kept != 0 {
			t.Errorf("%d bytes are still counted", kept)
		}
	}
	// What there is no room for must come with a length.
	full := func(q *fair.Quota, n int64) {
		if !q.Take(netip.Addr{}, n, max(n, 0)+q.Held(), 0) {
			t.Fatal("not taken")
		}
	}
	full(&p.depot.memory, spoolMemory-64<<10)
	full(&p.depot.disk, spoolDisk)
	if w := get(p, "POST", "/", io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)))); w.Code != http.StatusLengthRequired {
		t.Errorf("without memory: %d", w.Code)
	}
	p.depot.memory.Give(netip.Addr{}, spoolMemory-64<<10)
	p.depot.disk.Give(netip.Addr{}, spoolDisk)
	// One that the client breaks off is not sent as if it were whole.
	if w := get(p, "POST", "/", io.MultiReader(strings.NewReader("half"), broken{})); w.Code != statusGone {
		t.Errorf("broken off: %d %q", w.Code, w.Body)
	}
	if s := p.Backends()[0]; s.Failures != 0 || s.InFlight != 0 {
		t.Errorf("the backend is left with %+v", s)
	}
}

// broken is a body that breaks off.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
