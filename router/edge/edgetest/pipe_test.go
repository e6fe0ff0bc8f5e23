package edgetest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func ends() (a, b net.Conn) { return pipe(here, here) }

func TestPipeCarriesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := ends()
		large := bytes.Repeat([]byte("0123456789"), window/5)
		go func() {
			if n, err := a.Write(large); n != len(large) || err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
			if err := a.(*conn).CloseWrite(); err != nil {
				t.Error(err)
			}
		}()
		if got, err := io.ReadAll(b); !bytes.Equal(got, large) || err != nil {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		if _, err := b.Write([]byte("answer")); err != nil { // the other direction is open
			t.Error(err)
		}
		b.Close()
		if got, err := io.ReadAll(a); string(got) != "answer" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestPipeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := make([]byte, 2*window)
		cases := map[string]struct {
			do   func(a, b net.Conn) error
			want error
		}{
			"a read of one's own end":  {func(a, _ net.Conn) error { a.Close(); _, err := a.Read(full); return err }, net.ErrClosed},
			"a write to one's own end": {func(a, _ net.Conn) error { a.Close(); _, err := a.Write(full); return err }, net.ErrClosed},
			"a read of what has gone":  {func(a, b net.Conn) error { b.Close(); _, err := a.Read(full); return err }, io.EOF},
			"a write to what has gone": {func(a, b net.Conn) error { b.Close(); _, err := a.Write(full); return err }, io.ErrClosedPipe},
			"a read that takes too long": {func(a, _ net.Conn) error {
				a.SetDeadline(time.Now().Add(time.Second))
				_, err := a.Read(full)
				return err
			}, os.ErrDeadlineExceeded},
			"a write that takes too long": {func(a, _ net.Conn) error {
				a.SetDeadline(time.Now().Add(time.Second))
				_, err := a.Write(full)
				return err
			}, os.ErrDeadlineExceeded},
			"a deadline that has passed": {func(a, _ net.Conn) error { a.SetReadDeadline(time.Unix(1, 0)); _, err := a.Read(full); return err }, os.ErrDeadlineExceeded},
			"a deadline set meanwhile": {func(a, _ net.Conn) error {
				time.AfterFunc(time.Second, func() { a.SetReadDeadline(time.Now()) })
				_, err := a.Read(full)
				return err
			}, os.ErrDeadlineExceeded},
			"a deadline taken back": {func(a, b net.Conn) error {
				a.SetDeadline(time.Now().Add(time.Second))
				a.SetDeadline(time.Time{})
				time.AfterFunc(time.Minute, func() { b.Write([]byte("late")) })
				_, err := a.Read(full)
				return err
			}, nil},
			"closed meanwhile": {func(a, _ net.Conn) error {
				time.AfterFunc(time.Second, func() { a.Close() })
				_, err := a.Read(full)
				return err
			}, net.ErrClosed},
			"a read of nothing": {func(a, _ net.Conn) error { _, err := a.Read(nil); return err }, nil},
		}
		for name, c := range cases {
			a, b := ends()
			if err := c.do(a, b); !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
	})
}
