package h3

import (
	"cmp"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/quic-go/quic-go"

	"github.com/foretier/foretier/internal/given"
)

// Options for [New]. The zero value is valid: UDP port 443.
type Options struct {
	// Addr is what to listen on, host:port of UDP; empty means ":443". It is as a rule the
	// address of the server's own listener. Not looked at if Conn is set.
	Addr string
	// Conn is used instead of Addr: a *net.UDPConn, or what works like one, more slowly. The server closes it.
	Conn net.PacketConn
	// Port is where clients find HTTP/3, if something in front leads another port to this
	// one; zero means the port that it listens on.
	Port int
	// Key, of 16 random bytes or more, which gateways behind one address share, and a program
	// and the next one, lets clients of a process that has died know by their next packet
	// (RFC 9000, section 10.3), and a client's address that one has checked be known to
	// all. Without it such clients wait for an answer until their own limit. Empty means
	// that there is none.
	Key []byte
}

// withDefaults returns a checked copy.
func (o Options) withDefaults() (Options, error) {
	o.Addr = cmp.Or(o.Addr, ":443")
	if o.Port < 0 || o.Port > 65535 {
		return o, fmt.Errorf("h3: Port %d: want one from 1 to 65535, or 0 for that of Addr", o.Port)
	}
	if len(o.Key) > 0 && len(o.Key) < minKey {
		return o, fmt.Errorf("h3: Key of %d bytes: want %d random ones or more, or none", len(o.Key), minKey)
	}
	if o.Conn != nil && given.Nil(o.Conn) {
		return o, errors.New("h3: Conn is a nil pointer: want none, or a *net.UDPConn")
	}
	return o, nil
}

const minKey = 16

// keys are what is made of Options.Key.
func (o *Options) keys() (reset *quic.StatelessResetKey, token *quic.TokenGeneratorKey, err error) {
	if len(o.Key) == 0 {
		return nil, nil, nil
	}
	reset, token = new(quic.StatelessResetKey), new(quic.TokenGeneratorKey)
	for use, key := range map[string][]byte{"stateless reset": reset[:], "token": token[:]} {
		made, err := hkdf.Key(sha256.New, o.Key, nil, "foretier h3 "+use, len(key))
		if err != nil {
			return nil, nil, fmt.Errorf("h3: Key: %w", err)
		}
		copy(key, made)
	}
	return reset, token, nil
}

// altSvc is what answers say of where HTTP/3 is (RFC 7838, section 3), or empty if that
// is not known.
func altSvc(port int) string {
	if port == 0 {
		return ""
	}
	return `h3=":` + strconv.Itoa(port) + `"; ma=86400`
}

// portOf returns the port of a socket, or 0 if it has none.
func portOf(at net.Addr) int {
	if udp, ok := at.(*net.UDPAddr); ok {
		return udp.Port
	}
	return 0
}
