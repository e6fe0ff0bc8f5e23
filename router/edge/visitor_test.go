package edge_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
)

// A visitor is a client of a soak, which behaves as clients do, and as they should
// not.
type visitor struct {
	t     *testing.T
	soak  *soak
	addr  string
	rand  *rand.Rand
	asked tally

	nc net.Conn // its connection
	c  net.Conn // nc, or TLS above it
	r  *bufio.Reader
}

// once has one connection, on which it asks a few times.
func (v *visitor) once() {
	nc, err := net.DialTimeout("tcp", v.addr, testkit.Patience)
	if err != nil {
		v.t.Error(err)
		return
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(testkit.Patience))
	v.nc, v.c = nc, nc
	if v.soak.proxied {
		fmt.Fprintf(nc, "203.0.113.%d:99\n", v.rand.IntN(256))
	}
	if v.soak.client != nil {
		if v.rand.IntN(8) == 0 { // another protocol
			io.WriteString(nc, get("/page"))
			return
		}
		v.c = tls.Client(nc, v.soak.client)
	}
	v.r = bufio.NewReader(v.c)
	for range v.rand.IntN(8) + 1 {
		i := v.rand.IntN(len(manners))
		v.asked[i].Add(1)
		if !manners[i](v) {
			return
		}
	}
}

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }

func withBody(method, path, body string, fields ...string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: a\r\n%sContent-Length: %d\r\n\r\n%s", method, path, strings.Join(fields, ""), len(body), body)
}

// chunks is a request with body in chunks.
func (v *visitor) chunks(path, body string) string {
	text := "POST " + path + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	for len(body) > 0 {
		n := min(len(body), 1+v.rand.IntN(9000))
		text += fmt.Sprintf("%x;some=extension\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return text + "0\r\nA: trailer\r\n\r\n"
}

// send sends text while the answer is read, which may come before all is sent.
func (v *visitor) send(text string) {
	c := v.c
	go io.WriteString(c, text) // ends with the connection at the latest
}

// body is something to send.
func (v *visitor) body() string { return strings.Repeat("b", v.rand.IntN(40_000)) }

// at is path, here or behind the pool.
func (v *visitor) at(path string) string {
	if v.rand.IntN(2) == 0 {
		return "/pool" + path
	}
	return path
}

// answer reads the head of the next answer to method, final ones only. nil: there
// is none.
func (v *visitor) answer(method string) *http.Response {
	for {
		res, err := http.ReadResponse(v.r, &http.Request{Method: method})
		if err != nil {
			return nil
		}
		if res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
			return res
		}
	}
}

// wants reads an answer, which has to be want, and reports whether the connection
// goes on.
func (v *visitor) wants(want string) bool {
	res := v.answer("GET")
	if res == nil {
		v.t.Errorf("no answer, want %.30q", want)
		return false
	}
	got, err := io.ReadAll(res.Body)
	if err != nil || string(got) != want {
		v.t.Errorf("%s, %d bytes, %v, want %d: %.60q", res.Status, len(got), err, len(want), got)
	}
	return err == nil && !res.Close
}

// manners are how visitors ask. Each reports whether the connection goes on.
var manners = []func(*visitor) bool{
	func(v *visitor) bool {
		v.send(get(v.at("/page")))
		return v.wants(pageText)
	},
	func(v *visitor) bool { // pipelined
		v.send(get(v.at("/page")) + get(v.at("/stream")) + withBody("PUT", v.at("/echo"), "x") + get("/page"))
		return v.wants(pageText) && v.wants(streamText) && v.wants("x") && v.wants(pageText)
	},
	func(v *visitor) bool {
		body := v.body()
		v.send(withBody("POST", v.at("/echo"), body))
		return v.wants(body)
	},
	func(v *visitor) bool {
		body := v.body()
		v.send(v.chunks(v.at("/echo"), body))
		return v.wants(body)
	},
	(*visitor).inPieces,
	(*visitor).old,
	(*visitor).heads,
	(*visitor).expects,
	(*visitor).halfCloses,
	(*visitor).readsSlowly,
	(*visitor).upgrades,
	(*visitor).leavesUploading,
	(*visitor).leavesReading,
	(*visitor).uploadsInVain,
	(*visitor).errs,
	(*visitor).waitsInVain,
	(*visitor).seesAnError,
}

// waitsInVain leaves without an answer.
func (v *visitor) waitsInVain() bool {
	if _, err := io.WriteString(v.c, get(v.at("/hang"))); err != nil {
		v.t.Error(err)
	}
	if v.soak.opts.HalfClosed { // then it has left only if it says so
		v.nc.(*net.TCPConn).SetLinger(0)
	}
	return false
}

// seesAnError of the tier's own, since the handler breaks off before it has said
// anything.
func (v *visitor) seesAnError() bool {
	v.send(get("/panic"))
	res := v.answer("GET")
	if res == nil || res.StatusCode != http.StatusBadGateway {
		v.t.Errorf("broken off: %v", res)
		return false
	}
	io.Copy(io.Discard, res.Body)
	return !res.Close
}

func (v *visitor) inPieces() bool {
	for text := get(v.at("/page")); len(text) > 0; {
		n := min(len(text), v.rand.IntN(20)+1)
		if _, err := io.WriteString(v.c, text[:n]); err != nil {
			v.t.Error(err)
			return false
		}
		text = text[n:]
		runtime.Gosched()
	}
	return v.wants(pageText)
}

// old speaks HTTP/1.0.
func (v *visitor) old() bool {
	path := v.at([]string{"/page", "/stream"}[v.rand.IntN(2)])
	want := pageText
	if strings.HasSuffix(path, "stream") {
		want = streamText
	}
	v.send("GET " + path + " HTTP/1.0\r\n" + []string{"", "Connection: keep-alive\r\n"}[v.rand.IntN(2)] + "\r\n")
	return v.wants(want)
}

func (v *visitor) heads() bool {
	v.send(strings.Replace(get(v.at("/page")), "GET", "HEAD", 1))
	res := v.answer(http.MethodHead)
	if res == nil || res.StatusCode != http.StatusOK {
		v.t.Errorf("HEAD: %v", res)
		return false
	}
	return !res.Close
}

// expects waits to be told to send a body, or does not wait, or leaves.
func (v *visitor) expects() bool {
	body, path := v.body()+"b", v.at("/echo")
	text := withBody("POST", path, body, "Expect: 100-continue\r\n")
	if v.rand.IntN(2) == 0 {
		v.send(text)
		return v.wants(body)
	}
	io.WriteString(v.c, text[:len(text)-len(body)])
	res, err := http.ReadResponse(v.r, nil)
	if err != nil || res.StatusCode != http.StatusContinue {
		v.t.Errorf("expected 100: %v, %v", res, err)
		return false
	}
	if v.rand.IntN(4) == 0 {
		return false
	}
	v.send(body)
	return v.wants(body)
}

// halfCloses ends its direction, and is answered if it may.
func (v *visitor) halfCloses() bool {
	if _, err := io.WriteString(v.c, get(v.at("/page"))); err != nil {
		v.t.Error(err)
	}
	if half, ok := v.c.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	if v.soak.opts.HalfClosed {
		v.wants(pageText)
	}
	io.Copy(io.Discard, v.r)
	return false
}

// readsSlowly takes a large answer in small pieces, or only some of it.
func (v *visitor) readsSlowly() bool {
	v.nc.(*net.TCPConn).SetReadBuffer(128 << 10)
	v.send(get(v.at("/large")))
	res := v.answer("GET")
	if res == nil || res.ContentLength != largePage {
		v.t.Errorf("large: %v", res)
		return false
	}
	most := int64(v.rand.IntN(2 * largePage))
	buf := make([]byte, 1+v.rand.IntN(20_000))
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{io.LimitReader(res.Body, most)}, buf)
	if n != min(most, largePage) || err != nil {
		v.t.Errorf("large: %d bytes, %v", n, err)
	}
	return n == largePage && !res.Close
}

func (v *visitor) upgrades() bool {
	v.send("GET " + v.at("/upgrade") + " HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nearly")
	res := v.answer("GET")
	if res == nil || res.StatusCode != http.StatusSwitchingProtocols {
		v.t.Errorf("upgrade: %v", res)
		return false
	}
	io.WriteString(v.c, " and late")
	b := make([]byte, len("early and late"))
	if _, err := io.ReadFull(v.r, b); err != nil || string(b) != "early and late" {
		v.t.Errorf("upgraded: %q, %v", b, err)
	}
	if v.rand.IntN(2) == 0 { // leaves while it is sent something
		v.send(strings.Repeat("x", 100_000))
		v.r.ReadByte()
	}
	return false
}

func (v *visitor) leavesUploading() bool {
	text := withBody("POST", v.at("/echo"), v.body())
	if v.rand.IntN(2) == 0 {
		text = v.chunks(v.at("/echo"), v.body())
	}
	io.WriteString(v.c, text[:v.rand.IntN(len(text))])
	v.resets()
	return false
}

func (v *visitor) leavesReading() bool {
	v.send(get(v.at("/large")))
	io.CopyN(io.Discard, v.r, int64(v.rand.IntN(largePage)))
	v.resets()
	return false
}

// resets ends the connection with a reset, now and then.
func (v *visitor) resets() {
	if v.rand.IntN(2) == 0 {
		v.nc.(*net.TCPConn).SetLinger(0)
	}
}

// uploadsInVain sends what nobody reads.
func (v *visitor) uploadsInVain() bool {
	v.send(withBody("POST", []string{"/unread", "/late"}[v.rand.IntN(2)], v.body()))
	if res := v.answer("POST"); res != nil {
		io.Copy(io.Discard, res.Body)
	}
	return false
}

// errs sends what is no request.
func (v *visitor) errs() bool {
	v.send([]string{"GARBAGE\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", withBody("POST", "/echo", "")[:30] + "\x00\r\n\r\n",
		"POST " + v.at("/echo") + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"}[v.rand.IntN(4)])
	if res := v.answer("POST"); res == nil || res.StatusCode != http.StatusBadRequest {
		v.t.Errorf("malformed: %v", res)
	}
	return false
}
