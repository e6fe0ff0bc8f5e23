//go:build linux

package load

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// config is of a client that pays as little as it can: nothing is verified but
// that the server has its key. X25519 alone, since some servers know no more.
var config = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}}

// dial connects from the nth loopback address, so that ports suffice and the
// server sees many clients. Closing resets.
func dial(addr string, n int, secure bool) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+n%200))}, Timeout: 5 * time.Second}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = c.(*net.TCPConn).SetLinger(0) // else ports run out
	if !secure {
		return c, nil
	}
	t := tls.Client(c, config)
	if err := t.Handshake(); err != nil {
		_ = c.Close()
		return nil, err
	}
	return t, nil
}

// ask sends a request and reads its answer to the end.
func ask(c net.Conn, request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode >= 400 {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}

// Handshakes opens connections over TLS 1.3, Conns at a time, with a full
// handshake and one request each.
func Handshakes(s Spec) (Result, error) {
	var (
		mu        sync.Mutex // guards what follows
		res       Result
		latencies []time.Duration
	)
	begun := time.Now()
	var clients sync.WaitGroup
	for i := range s.Conns {
		clients.Go(func() {
			for time.Since(begun).Seconds() < s.Seconds {
				at := time.Now()
				c, err := dial(s.Addr, i, true)
				if err == nil {
					err = ask(c, s.Ask[0])
					_ = c.(*tls.Conn).NetConn().Close()
				}
				mu.Lock()
				if err != nil {
					if res.Failed++; res.Failed == 1 {
						res.Why = err.Error()
					}
				} else {
					res.Done++
					latencies = append(latencies, time.Since(at))
				}
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	res.Seconds = time.Since(begun).Seconds()
	res.latencies(latencies)
	return res, nil
}

// Idle opens connections, asks once on each, and leaves them until hold returns.
func Idle(s Spec, hold func(Result) error, res *Result) error {
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for i := range s.Conns {
		c, err := dial(s.Addr, i, s.TLS)
		if err != nil {
			return fmt.Errorf("connection %d: %w", i+1, err)
		}
		conns = append(conns, c)
		if err := ask(c, s.Ask[0]); err != nil {
			return fmt.Errorf("connection %d: %w", i+1, err)
		}
	}
	if err := hold(Result{Done: len(conns)}); err != nil {
		return err
	}
	res.Done = len(conns)
	for _, c := range conns {
		if open(c) {
			res.Alive++
		}
	}
	return nil
}

// open reports whether the server has not closed a connection. Over TLS there
// may be tickets to read; an end is still an end.
func open(c net.Conn) bool {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false
	}
	alive := false
	err = raw.Control(func(fd uintptr) {
		for buf := make([]byte, 4096); ; {
			n, err := syscall.Read(int(fd), buf)
			if n > 0 {
				continue
			}
			alive = err == syscall.EAGAIN
			return
		}
	})
	return err == nil && alive
}
