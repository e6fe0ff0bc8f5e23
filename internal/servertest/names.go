package servertest

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/foretier/foretier/internal/testkit"
)

// Names is a name server, which knows what a test tells it and nothing else.
type Names struct {
	Addr string

	mu        sync.Mutex
	addresses map[string][]netip.Addr // guarded by mu
	services  map[string][]net.SRV    // guarded by mu
}

// NewNames starts one, by TCP, until the test ends.
func NewNames(tb testing.TB) *Names {
	tb.Helper()
	n := &Names{addresses: make(map[string][]netip.Addr), services: make(map[string][]net.SRV)}
	n.Addr = names(tb, n.answer)
	return n
}

// SetAddresses says which addresses a name has.
func (n *Names) SetAddresses(name string, addrs ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addresses[name+"."] = addrs
}

// SetServices says which services a name has (RFC 2782).
func (n *Names) SetServices(name string, services ...net.SRV) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.services[name+"."] = services
}

// Resolver returns one that asks this server alone.
func (n *Names) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", n.Addr)
	}}
}

// answer answers a question; false says that there is no such name.
func (n *Names) answer(q dnsmessage.Question) (answers []dnsmessage.ResourceBody, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name := strings.ToLower(q.Name.String())
	addrs, isHost := n.addresses[name]
	services, isService := n.services[name]
	switch q.Type {
	case dnsmessage.TypeA:
		for _, a := range addrs {
			answers = append(answers, &dnsmessage.AResource{A: a.As4()})
		}
	case dnsmessage.TypeSRV:
		for _, s := range services {
			answers = append(answers, &dnsmessage.SRVResource{Priority: s.Priority, Weight: s.Weight, Port: s.Port, Target: dnsmessage.MustNewName(s.Target)})
		}
	}
	return answers, isHost || isService
}

// names starts a server, by TCP, that answers as it is told.
func names(tb testing.TB, answer func(dnsmessage.Question) ([]dnsmessage.ResourceBody, bool)) (addr string) {
	tb.Helper()
	return testkit.Accept(tb, testkit.Listen(tb), func(c net.Conn) {
		for {
			var size [2]byte
			if _, err := io.ReadFull(c, size[:]); err != nil {
				return
			}
			question := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(c, question); err != nil {
				return
			}
			answer, err := answerTo(question, answer)
			if err != nil {
				return
			}
			if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
				return
			}
		}
	})
}

// answerTo answers a message.
func answerTo(question []byte, answer func(dnsmessage.Question) ([]dnsmessage.ResourceBody, bool)) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	for _, q := range m.Questions {
		bodies, known := answer(q)
		if !known {
			m.RCode = dnsmessage.RCodeNameError
		}
		for _, b := range bodies {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: b})
		}
	}
	return m.Pack()
}
