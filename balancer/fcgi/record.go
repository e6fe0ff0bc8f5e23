package fcgi

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// FastCGI 1.0, section 8.
const (
	version   = 1
	requestID = 1 // of the only request on a connection
	responder = 1
	headerLen = 8
	// maxContent is how much a record holds.
	maxContent = 1<<16 - 1
	// endLen is how much the record that ends a request holds.
	endLen = 8
)

// Kinds of records.
const (
	kindBegin  = 1
	kindEnd    = 3
	kindParams = 4
	kindStdin  = 5
	kindStdout = 6
	kindStderr = 7
)

// appendHeader appends the header of a record with n bytes of content.
func appendHeader(b []byte, kind byte, n int) []byte {
	return append(b, version, kind, 0, requestID, byte(n>>8), byte(n), 0, 0)
}

// appendBegin appends the record that begins a request. Its connection ends with it.
func appendBegin(b []byte) []byte {
	return append(appendHeader(b, kindBegin, 8), 0, responder, 0, 0, 0, 0, 0, 0)
}

// An answers is what a server sends, record by record, read as what the script prints.
// What is none of the records that may come is an error.
type answers struct {
	in    *bufio.Reader
	left  int  // of the record of output that is being read
	pad   int  // behind it
	shut  bool // the script has ended its output
	ended bool // the server has ended the request
	notes func([]byte)
}

// Read reads what the script prints. It returns [io.EOF] only once the server has ended
// the request.
func (a *answers) Read(p []byte) (int, error) {
	for a.left == 0 {
		if a.ended {
			return 0, io.EOF
		}
		if err := a.next(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
	}
	n, err := a.in.Read(p[:min(len(p), a.left)])
	a.left -= n
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// next goes to the next record of output, or to the end of the request.
func (a *answers) next() error {
	if _, err := a.in.Discard(a.pad); err != nil {
		return err
	}
	a.pad = 0
	var h [headerLen]byte
	if _, err := io.ReadFull(a.in, h[:]); err != nil {
		return err
	}
	kind, n, pad, err := readHeader(h[:])
	if err != nil {
		return err
	}
	switch kind {
	case kindStdout:
		if a.shut && n > 0 {
			return errors.New("fcgi: output behind its end")
		}
		a.left, a.pad, a.shut = n, pad, n == 0
		return nil
	case kindStderr:
		if err := a.note(n); err != nil {
			return err
		}
		a.pad = pad
		return nil
	}
	var end [endLen]byte
	if n != endLen {
		return fmt.Errorf("fcgi: the end of the request has %d bytes, want %d", n, endLen)
	}
	if _, err := io.ReadFull(a.in, end[:]); err != nil {
		return err
	}
	// What the script exited with says nothing of its page.
	if status := end[4]; status != 0 {
		return fmt.Errorf("fcgi: the server refused the request: protocol status %d", status)
	}
	a.ended = true
	return nil
}

// readHeader reads the header of a record that may come from a server.
func readHeader(h []byte) (kind byte, n, pad int, err error) {
	switch id := binary.BigEndian.Uint16(h[2:]); {
	case h[0] != version:
		return 0, 0, 0, fmt.Errorf("fcgi: a record of version %d: want %d, of a server of FastCGI", h[0], version)
	case id != requestID:
		return 0, 0, 0, fmt.Errorf("fcgi: a record of request %d, where there is %d alone", id, requestID)
	case h[1] != kindStdout && h[1] != kindStderr && h[1] != kindEnd:
		return 0, 0, 0, fmt.Errorf("fcgi: a record of type %d", h[1])
	}
	return h[1], int(binary.BigEndian.Uint16(h[4:])), int(h[6]), nil
}

// note hands on n bytes of what the script writes to its log.
func (a *answers) note(n int) error {
	for n > 0 {
		b, err := a.in.Peek(min(n, a.in.Size()))
		if err != nil && len(b) == 0 {
			return err
		}
		a.notes(b)
		if _, err := a.in.Discard(len(b)); err != nil {
			return err
		}
		n -= len(b)
	}
	return nil
}

// rest returns how much output is still to come, if all of it is here.
func (a *answers) rest() (n int, all bool) {
	b, _ := a.in.Peek(a.in.Buffered())
	if a.ended {
		return 0, true
	}
	if len(b) < a.left+a.pad {
		return 0, false
	}
	n, b = a.left, b[a.left+a.pad:]
	for len(b) >= headerLen {
		kind, size, pad, err := readHeader(b)
		switch {
		case err != nil || len(b) < headerLen+size:
			return 0, false
		case kind == kindEnd: // nobody waits for what is behind it
			return n, size == endLen && b[headerLen+4] == 0
		case len(b) < headerLen+size+pad:
			return 0, false
		case kind == kindStdout:
			n += size
		}
		b = b[headerLen+size+pad:]
	}
	return 0, false
}
