package edge_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"github.com/foretier/foretier/internal/testkit"
)

// A visitor2 is a [visitor] that speaks HTTP/2: it asks for several things at once.
type visitor2 struct {
	t     *testing.T
	soak  *soak
	addr  string
	rand  *rand.Rand
	asked tally

	client *http.Client
}

// once has one connection, on which it asks for a few things, most of them beside each other.
func (v *visitor2) once() {
	var mu sync.Mutex
	var open []net.Conn
	over := false
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	dial := func(context.Context, string, string) (net.Conn, error) {
		c, err := net.DialTimeout("tcp", v.addr, testkit.Patience)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		left := over
		open = append(open, c)
		mu.Unlock()
		if left { // the transport dials more than it needs
			c.Close()
			return nil, net.ErrClosed
		}
		if _, err := io.WriteString(c, v.announced()); err != nil || v.soak.client == nil {
			return c, err
		}
		config := v.soak.client.Clone()
		config.NextProtos = []string{"h2"}
		return tls.Client(c, config), nil
	}
	transport := &http.Transport{Protocols: protocols, DialContext: dial, DialTLSContext: dial, DisableCompression: true}
	v.client = &http.Client{Transport: transport}
	var beside sync.WaitGroup
	for range v.rand.IntN(8) + 1 {
		i, seed := v.rand.IntN(len(manners2)), v.rand.Uint64()
		v.asked[i].Add(1)
		beside.Go(func() { manners2[i](v, rand.New(rand.NewPCG(seed, 0))) })
	}
	beside.Wait()
	transport.CloseIdleConnections()
	mu.Lock()
	defer mu.Unlock()
	over = true
	for _, c := range open {
		if v.rand.IntN(2) == 0 {
			c.(*net.TCPConn).SetLinger(0)
		}
		c.Close()
	}
}

// announced is what a proxy in front says of the client; "" if there is none.
func (v *visitor2) announced() string {
	if v.soak.proxied {
		return "203.0.113.7:99\n"
	}
	return ""
}

// ask asks, and returns the answer, which may be cut off by cancel; nil: there is none.
func (v *visitor2) ask(method, path string, body io.Reader) (res *http.Response, cancel func()) {
	ctx, cancel := context.WithTimeout(v.t.Context(), testkit.Patience)
	r, err := http.NewRequestWithContext(ctx, method, "http://a"+path, body)
	if err == nil {
		if v.soak.client != nil {
			r.URL.Scheme = "https"
		}
		res, err = v.client.Do(r)
	}
	if err != nil {
		v.t.Errorf("%s %s over HTTP/2: %v", method, path, err)
		cancel()
		return nil, cancel
	}
	return res, cancel
}

// wants asks for something, which has to be want.
func (v *visitor2) wants(method, path string, body io.Reader, want string) {
	res, cancel := v.ask(method, path, body)
	defer cancel()
	if res == nil {
		return
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != want || res.ProtoMajor != 2 {
		v.t.Errorf("%s over HTTP/2: %s, %d bytes, %v, want %d: %.60q", path, res.Status, len(got), err, len(want), got)
	}
}

// cut asks for something, and gives it up once it has had so many bytes of the answer.
func (v *visitor2) cut(path string, bytes int) {
	if res, cancel := v.ask("GET", path, nil); res != nil {
		io.CopyN(io.Discard, res.Body, int64(bytes))
		cancel()
		res.Body.Close()
	}
}

// behind is path, or the same behind the pool.
func behind(r *rand.Rand, path string) string {
	if r.IntN(2) == 0 {
		return "/pool" + path
	}
	return path
}

// text is something to send.
func text(r *rand.Rand) string { return strings.Repeat("b", r.IntN(400_000)) }

// errLeft is why an upload ends before its end.
var errLeft = fmt.Errorf("the client gives it up")

// manners2 are how visitors ask over HTTP/2.
var manners2 = []func(*visitor2, *rand.Rand){
	func(v *visitor2, r *rand.Rand) { v.wants("GET", behind(r, "/page"), nil, pageText) },
	func(v *visitor2, r *rand.Rand) { v.wants("HEAD", behind(r, "/page"), nil, "") },
	func(v *visitor2, r *rand.Rand) { v.wants("GET", behind(r, "/stream"), nil, streamText) },
	func(v *visitor2, r *rand.Rand) {
		body := text(r)
		v.wants("POST", behind(r, "/echo"), strings.NewReader(body), body)
	},
	func(v *visitor2, r *rand.Rand) { // without a length
		body := text(r)
		v.wants("POST", behind(r, "/echo"), struct{ io.Reader }{strings.NewReader(body)}, body)
	},
	func(v *visitor2, r *rand.Rand) {
		v.wants("GET", behind(r, "/large"), nil, strings.Repeat("l", largePage))
	},
	func(v *visitor2, r *rand.Rand) { v.cut(behind(r, "/large"), r.IntN(largePage)) },
	func(v *visitor2, r *rand.Rand) { v.cut(behind(r, "/stream"), r.IntN(len(streamText))) },
	(*visitor2).readsSlowly,
	(*visitor2).leavesUploading,
	(*visitor2).uploadsInVain,
	(*visitor2).waitsInVain,
	(*visitor2).seesAnError,
	(*visitor2).upgrades,
}

// readsSlowly takes a large answer in small pieces, while others of its connection go on.
func (v *visitor2) readsSlowly(r *rand.Rand) {
	res, cancel := v.ask("GET", behind(r, "/large"), nil)
	defer cancel()
	if res == nil {
		return
	}
	defer res.Body.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{res.Body}, make([]byte, 1000+r.IntN(20_000)))
	if n != largePage || err != nil {
		v.t.Errorf("large over HTTP/2: %d bytes, %v", n, err)
	}
}

// leavesUploading breaks an upload off.
func (v *visitor2) leavesUploading(r *rand.Rand) {
	ctx, cancel := context.WithTimeout(v.t.Context(), testkit.Patience)
	defer cancel()
	body := io.MultiReader(strings.NewReader(text(r)), failing{})
	scheme := "http"
	if v.soak.client != nil {
		scheme = "https"
	}
	if req, err := http.NewRequestWithContext(ctx, "POST", scheme+"://a"+behind(r, "/echo"), body); err == nil {
		if res, err := v.client.Do(req); err == nil { // the answer has begun
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errLeft }

// uploadsInVain sends what nobody reads.
func (v *visitor2) uploadsInVain(r *rand.Rand) {
	if res, cancel := v.ask("POST", []string{"/unread", "/late"}[r.IntN(2)], strings.NewReader(text(r))); res != nil {
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		cancel()
	}
}

// waitsInVain gives up what is not answered.
func (v *visitor2) waitsInVain(r *rand.Rand) {
	ctx, cancel := context.WithCancel(v.t.Context())
	defer cancel()
	scheme := "http"
	if v.soak.client != nil {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, "GET", scheme+"://a"+behind(r, "/hang"), nil)
	if err != nil {
		v.t.Error(err)
		return
	}
	var asking sync.WaitGroup
	asking.Go(func() {
		if res, err := v.client.Do(req); err == nil {
			v.t.Errorf("answered: %s", res.Status)
			res.Body.Close()
		}
	})
	v.wants("GET", behind(r, "/page"), nil, pageText) // meanwhile
	cancel()
	asking.Wait()
}

// seesAnError of the tier's own, since the handler breaks off before it has said anything.
func (v *visitor2) seesAnError(*rand.Rand) {
	if res, cancel := v.ask("GET", "/panic", nil); res != nil {
		if res.StatusCode != http.StatusBadGateway {
			v.t.Errorf("broken off over HTTP/2: %s", res.Status)
		}
		res.Body.Close()
		cancel()
	}
}

// upgrades has a stream of a connection of its own taken over.
func (v *visitor2) upgrades(r *rand.Rand) {
	req, err := http.NewRequest("GET", "http://a"+behind(r, "/upgrade"), nil)
	if err != nil {
		v.t.Error(err)
		return
	}
	req.Header.Set("Sec-WebSocket-Version", "13")
	res, err := over2{addr: v.addr, client: v.soak.client, first: v.announced()}.RoundTrip(req)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		v.t.Errorf("upgrade over HTTP/2: %v, %v", res, err)
		return
	}
	s := res.Body.(*stream8441)
	defer s.Conn.Close()
	want := bytes.Repeat([]byte("x"), 1+r.IntN(60_000))
	got := make([]byte, len(want))
	if _, err := s.Write(want); err != nil {
		v.t.Errorf("upgraded over HTTP/2: %v", err)
	}
	switch r.IntN(4) {
	case 0: // leaves while it is sent something
		return
	case 1:
		s.fr.WriteRSTStream(1, http2.ErrCodeCancel)
		return
	}
	if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, want) {
		v.t.Errorf("upgraded over HTTP/2: %d bytes, %v", len(got), err)
	}
	s.fr.WriteData(1, true, nil)
	if rest, err := io.ReadAll(s); len(rest) > 0 || err != nil {
		v.t.Errorf("behind the end: %d bytes, %v", len(rest), err)
	}
}
