package edge

import (
	"bufio"
	"errors"
	"net"
	"net/http"
)

// errUnswitched is what an answer is that would be taken for a websocket (RFC 8441, section 5).
var errUnswitched = errors.New("edge: a request for a websocket was answered without one")

// Hijack implements [http.Hijacker]. Whoever takes the connection over writes the
// answer past the exchange, from Header as httputil.ReverseProxy does or by
// itself: it is completed here and counts as the 101 that it is nearly always. Only
// who asked for a websocket over HTTP/2 may be answered otherwise: see switched.
// A Strict-Transport-Security that a backend sends stands behind the tier's
// own, of which clients take the first (RFC 6797, section 8.1).
func (ex *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !ex.use() {
		return nil, nil, errOver
	}
	defer ex.done()
	c, rw, err := ex.rc.Hijack()
	if err == nil {
		ex.complete(http.StatusSwitchingProtocols)
		ex.tunnel, _ = c.(tunnel)
		if ex.unmount != nil {
			ex.unmount() // it is its server's to end
		}
	}
	return c, rw, err
}

// A tunnel is what was taken over of HTTP/2, whose client gets a 502 if what is written
// there is no answer to a websocket.
type tunnel interface{ Refused() bool }

// switched corrects what Hijack has assumed, once the handler is done.
func (ex *exchange) switched() {
	if ex.tunnel != nil && ex.tunnel.Refused() {
		ex.status = http.StatusBadGateway
	}
}
