package edge_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// load asks addr from eight clients until stop is called, which returns how
// many requests were answered and the first error.
func load(t *testing.T, url string, transport func() *http.Transport) (stop func() (answered int64, err error)) {
	ended := make(chan struct{})
	var wg sync.WaitGroup
	var answered atomic.Int64
	var once sync.Once
	var first error
	for range 8 {
		wg.Go(func() {
			tr := transport()
			defer tr.CloseIdleConnections()
			client := http.Client{Transport: tr, Timeout: time.Minute}
			for {
				select {
				case <-ended:
					return
				default:
				}
				res, err := client.Get(url)
				if err == nil {
					_, err = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				if err != nil {
					once.Do(func() { first = err })
					return
				}
				answered.Add(1)
			}
		})
	}
	return func() (int64, error) {
		close(ended)
		wg.Wait()
		return answered.Load(), first
	}
}

// A socket that outlives the servers on it refuses nobody while one follows the
// other.
func TestRollingRestart(t *testing.T) {
	l := testkit.Listen(t)
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "ok")
	})
	start := func() (stop func()) {
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		own, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		srv, err := edge.New(h, edge.Options{Listener: own, Linger: 300 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- srv.Run(ctx) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	stopServer := start()
	stopLoad := load(t, "http://"+l.Addr().String(), func() *http.Transport { return &http.Transport{} })
	for range 4 {
		stopOld := stopServer
		stopServer = start()
		stopOld()
	}
	n, err := stopLoad()
	stopServer()
	if err != nil || n < 100 {
		t.Errorf("%d requests, then %v", n, err)
	}
}

func TestCertificateChangeUnderLoad(t *testing.T) {
	dir := t.TempDir()
	ends := time.Now().Add(90 * 24 * time.Hour)
	certs, err := edge.Certificates(pair(t, dir, "a.example", ends))
	if err != nil {
		t.Fatal(err)
	}
	srv := serve(t, http.NotFoundHandler(), edge.Options{Certificates: certs})
	var mu sync.Mutex
	seen := map[string]bool{}
	stopLoad := load(t, "https://"+srv.Addr().String(), func() *http.Transport {
		return &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, // looks at the certificate itself
			VerifyConnection: func(s tls.ConnectionState) error {
				mu.Lock()
				defer mu.Unlock()
				seen[s.PeerCertificates[0].SerialNumber.String()] = true
				return nil
			}}}
	})
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(seen) }
	for i := range 5 {
		waitFor(t, func() bool { return count() == i+1 })
		if err := os.WriteFile(dir+"/a.example.crt", []byte("half written"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := certs.Reload(); err == nil {
			t.Error("a bad file was taken up")
		}
		pair(t, dir, "a.example", ends)
		if err := certs.Reload(); err != nil {
			t.Error(err)
		}
	}
	waitFor(t, func() bool { return count() == 6 })
	if n, err := stopLoad(); err != nil {
		t.Errorf("%d requests, then %v", n, err)
	}
}

// A connection that shakes hands while the drain begins is told to end, too.
func TestDrainEndsLateHTTP2(t *testing.T) {
	certs, err := edge.Certificates(pair(t, t.TempDir(), "a.example", time.Now().Add(90*24*time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	srv, err := edge.New(http.NotFoundHandler(), edge.Options{Addr: "127.0.0.1:0", Certificates: certs, Linger: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	c := testkit.Dial(t, srv.Addr().String())
	defer c.Close()
	waitFor(t, func() bool { return srv.Report().Metrics[0].Value == 1 }) // it is accepted
	cancel()
	waitFor(t, func() bool { // the listener is closed
		late, err := net.Dial("tcp", srv.Addr().String())
		if err == nil {
			late.Close()
		}
		return err != nil
	})
	s := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}) // whose certificate does not matter
	io.WriteString(s, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	if _, err := io.Copy(io.Discard, s); err != nil {
		t.Errorf("the connection: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}
