//go:build e2e

package main

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// dial opens a connection that speaks proto, "http/1.1" or "h2".
func (f front) dial(t *testing.T, from, proto string) net.Conn {
	t.Helper()
	config := f.tls.Clone()
	config.NextProtos = []string{proto}
	conn := tls.Client(dialFrom(t, from, f.addr), config)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn
}

// Frames of HTTP/2 (RFC 9113, section 6) that no client sends which means well.
const (
	frameData, frameHeaders, frameReset, frameSettings, framePing, frameWindow = 0x0, 0x1, 0x3, 0x4, 0x6, 0x8

	flagEnd, flagAck, flagHeaderEnd = 0x1, 0x1, 0x4
)

// h2 is a connection of HTTP/2 that says what the test says, in the order in which
// it says it, and takes no more of the answers than the windows at the beginning
// let through.
type h2 struct {
	conn net.Conn
	host string

	mu   sync.Mutex
	last uint32 // guarded by mu: the last stream

	ok     atomic.Int64 // answers with status 200
	others atomic.Int64 // with another
	resets atomic.Int64 // streams that the server reset
}

func (f front) h2(t *testing.T, from string) *h2 {
	t.Helper()
	c := &h2{conn: f.dial(t, from, "h2"), host: f.addr}
	if _, err := io.WriteString(c.conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	c.send(frameSettings, 0, 0, nil)
	go c.read() // until the connection is closed
	return c
}

// send sends a frame. That the server has closed meanwhile shows in what others get.
func (c *h2) send(kind, flags byte, stream uint32, payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sendLocked(kind, flags, stream, payload)
}

func (c *h2) sendLocked(kind, flags byte, stream uint32, payload []byte) {
	frame := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	frame = binary.BigEndian.AppendUint32(frame, stream)
	_, _ = c.conn.Write(append(frame, payload...))
}

// ask begins a request and returns its stream. length is that of its body, which
// is announced and not sent; 0: there is none.
func (c *h2) ask(path, length string) (stream uint32) {
	// As RFC 7541 writes it without Huffman's code and without a table of its own.
	fields := append([]byte{0x87, 0x01, byte(len(c.host))}, c.host...)
	fields = append(append(fields, 0x04, byte(len(path))), path...)
	flags := byte(flagHeaderEnd)
	if length == "" {
		fields, flags = append(fields, 0x82), flags|flagEnd // GET
	} else {
		fields = append(append(fields, 0x83, 0x0f, 0x0d, byte(len(length))), length...) // POST
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last += 2; c.last == 2 {
		c.last = 1
	}
	c.sendLocked(frameHeaders, flags, c.last, fields)
	return c.last
}

// read counts what the server says.
func (c *h2) read() {
	in := bufio.NewReader(c.conn)
	for {
		var head [9]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(in, payload); err != nil {
			return
		}
		switch kind, flags := head[3], head[4]; {
		case kind == frameHeaders && payload[0] == 0x88:
			c.ok.Add(1)
		case kind == frameHeaders:
			c.others.Add(1)
		case kind == frameReset:
			c.resets.Add(1)
		case (kind == frameSettings || kind == framePing) && flags&flagAck == 0:
			if kind == frameSettings {
				payload = nil
			}
			c.send(kind, flagAck, 0, payload)
		}
	}
}
