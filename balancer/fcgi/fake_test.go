package fcgi

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// record is a record as a server sends it.
func record(kind byte, content string) string {
	return string(appendHeader(nil, kind, len(content))) + content
}

func stdout(content string) string { return record(kindStdout, content) }
func stderr(content string) string { return record(kindStderr, content) }

const (
	endOfOutput = "\x01\x06\x00\x01\x00\x00\x00\x00"
	endOfAll    = "\x01\x03\x00\x01\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	end         = endOfOutput + endOfAll
)

const page = "Content-Type: text/html\r\n\r\n<p>"

// A fake is a server of FastCGI that does what a test tells it.
type fake struct {
	net.Listener
	wg sync.WaitGroup
}

// A taken request is one on a fake's connection.
type taken struct {
	net.Conn
	in     *bufio.Reader
	params map[string]string
}

// body reads the request's body to its end.
func (r *taken) body() (string, error) {
	var b strings.Builder
	for {
		kind, content, err := readRecord(r.in)
		if err != nil || kind != kindStdin {
			return b.String(), fmt.Errorf("record %d: %w", kind, err)
		}
		if content == "" {
			return b.String(), nil
		}
		b.WriteString(content)
	}
}

func readRecord(in io.Reader) (kind byte, content string, err error) {
	var h [headerLen]byte
	if _, err := io.ReadFull(in, h[:]); err != nil {
		return 0, "", err
	}
	b := make([]byte, int(binary.BigEndian.Uint16(h[4:]))+int(h[6]))
	_, err = io.ReadFull(in, b)
	return h[1], string(b[:len(b)-int(h[6])]), err
}

// newFake serves each connection's request by serve, until the test ends.
func newFake(t testing.TB, serve func(*taken)) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{Listener: l}
	f.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.wg.Go(func() {
				defer c.Close()
				r := &taken{Conn: c, in: bufio.NewReader(c)}
				if r.params, err = readParams(r.in); err == nil {
					serve(r)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		f.wg.Wait()
	})
	return f
}

func (f *fake) url() string { return "fcgi://" + f.Addr().String() }

// readParams reads a request up to its body, as PHP does: each parameter whole in its record.
func readParams(in io.Reader) (map[string]string, error) {
	kind, begin, err := readRecord(in)
	if err != nil || kind != kindBegin || begin != "\x00\x01\x00\x00\x00\x00\x00\x00" {
		return nil, fmt.Errorf("record %d, %q, begins the request: %w", kind, begin, err)
	}
	params := make(map[string]string)
	for {
		kind, content, err := readRecord(in)
		if err != nil || kind != kindParams {
			return nil, fmt.Errorf("record %d among the parameters: %w", kind, err)
		}
		if content == "" {
			return params, nil
		}
		for content != "" {
			var lengths [2]int
			for i := range lengths {
				if lengths[i] = int(content[0]); lengths[i] >= 1<<7 {
					lengths[i] = int(binary.BigEndian.Uint32([]byte(content[:4])) &^ (1 << 31))
					content = content[3:]
				}
				content = content[1:]
			}
			name := content[:lengths[0]]
			if _, ok := params[name]; ok {
				return nil, fmt.Errorf("parameter %q is there twice", name)
			}
			params[name] = content[lengths[0]:][:lengths[1]]
			content = content[lengths[0]+lengths[1]:]
		}
	}
}
