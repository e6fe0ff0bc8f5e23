package fcgi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

var sent = []struct {
	name, sent string
	want       string // what the script prints, and how it ends
}{
	{"a page", stdout("a") + stdout("bc") + end, "abc EOF"},
	{"an end without an end of output", stdout("abc") + endOfAll, "abc EOF"},
	{"padding", "\x01\x06\x00\x01\x00\x03\x05\x00abc12345" + "\x01\x06\x00\x01\x00\x00\x02\x0012" + "\x01\x03\x00\x01\x00\x08\x01\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "x", "abc EOF"},
	{"reserved bytes", "\x01\x06\x00\x01\x00\x03\x00\xffabc" + end, "abc EOF"},
	{"what goes to the log", stderr("no") + stdout("a") + stderr("no") + stdout("b") + stderr("") + end, "ab EOF"},
	{"what it exited with", stdout("a") + "\x01\x03\x00\x01\x00\x08\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00", "a EOF"},
	{"nothing at all", end, " EOF"},
	{"padding behind the end that does not come", "\x01\x03\x00\x01\x00\x08\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00", " EOF"},
	{"a long record", stdout(strings.Repeat("a", maxContent)) + end, strings.Repeat("a", maxContent) + " EOF"},

	{"no answer", "", " unexpected EOF"},
	{"a half header", "\x01\x06\x00", " unexpected EOF"},
	{"a half record", "\x01\x06\x00\x01\x00\x03\x00\x00ab", "ab unexpected EOF"},
	{"no end", stdout("abc"), "abc unexpected EOF"},
	{"an end of output alone", stdout("abc") + endOfOutput, "abc unexpected EOF"},
	{"half an end", stdout("abc") + endOfAll[:12], "abc unexpected EOF"},
	{"padding that does not come", "\x01\x06\x00\x01\x00\x03\x05\x00abc1", "abc unexpected EOF"},
	{"half a word for the log", "\x01\x07\x00\x01\x00\x09\x00\x00ab", " unexpected EOF"},
	{"an HTTP server", "HTTP/1.1 400 Bad Request\r\n\r\n", " fcgi: a record of version 72: want 1, of a server of FastCGI"},
	{"another version", "\x02\x06\x00\x01\x00\x03\x00\x00abc", " fcgi: a record of version 2: want 1, of a server of FastCGI"},
	{"another request's", "\x01\x06\x00\x02\x00\x03\x00\x00abc" + end, " fcgi: a record of request 2, where there is 1 alone"},
	{"nobody's", "\x01\x0b\x00\x00\x00\x08\x00\x00abcdefgh" + end, " fcgi: a record of request 0, where there is 1 alone"},
	{"a request", "\x01\x05\x00\x01\x00\x03\x00\x00abc" + end, " fcgi: a record of type 5"},
	{"an unknown type", "\x01\xff\x00\x01\x00\x03\x00\x00abc" + end, " fcgi: a record of type 255"},
	{"output behind its end", stdout("a") + endOfOutput + stdout("b") + end, "a fcgi: output behind its end"},
	{"a refusal", "\x01\x03\x00\x01\x00\x08\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00", " fcgi: the server refused the request: protocol status 2"},
	{"a short end", "\x01\x03\x00\x01\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00" + end, " fcgi: the end of the request has 7 bytes, want 8"},
	{"a long end", "\x01\x03\x00\x01\xff\xff\x00\x00" + strings.Repeat("\x00", maxContent), " fcgi: the end of the request has 65535 bytes, want 8"},
}

func answersOf(in io.Reader, size int, notes func([]byte)) *answers {
	return &answers{in: bufio.NewReaderSize(in, size), notes: notes}
}

func TestRecords(t *testing.T) {
	for _, c := range sent {
		for how, in := range map[string]io.Reader{
			"at once": strings.NewReader(c.sent), "byte by byte": iotest.OneByteReader(strings.NewReader(c.sent)), "with its end": iotest.DataErrReader(strings.NewReader(c.sent)),
		} {
			got, err := io.ReadAll(justRead{answersOf(in, 64, func([]byte) {})})
			if fmt.Sprintf("%s %v", got, err) != c.want {
				t.Errorf("%s, %s: %.200q %v, want %.200q", c.name, how, got, err, c.want)
			}
		}
	}
}

// justRead shows the error that [io.ReadAll] takes for the end.
type justRead struct{ io.Reader }

func (r justRead) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		err = errors.New("EOF")
	}
	return n, err
}

// FuzzAnswers: whatever comes is read the same in any pieces, ends, and is known to be
// whole only if it is.
func FuzzAnswers(f *testing.F) {
	for _, c := range sent {
		f.Add([]byte(c.sent))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		read := func(in io.Reader) (string, int, error) {
			notes := 0
			got, err := io.ReadAll(justRead{answersOf(in, 32, func(b []byte) { notes += len(b) })})
			return string(got), notes, err
		}
		got, notes, err := read(strings.NewReader(string(b)))
		again, notesAgain, errAgain := read(iotest.OneByteReader(strings.NewReader(string(b))))
		if got != again || notes != notesAgain || err.Error() != errAgain.Error() {
			t.Fatalf("%q %v at once, %q %v byte by byte", got, err, again, errAgain)
		}
		if len(got)+notes > len(b) {
			t.Fatalf("%d bytes out of %d", len(got)+notes, len(b))
		}
		a := answersOf(strings.NewReader(string(b)), len(b)+16, func([]byte) {})
		if _, err := a.in.Peek(1); err != nil {
			return
		}
		n, all := a.rest()
		// Output behind its end shows only when it is read.
		if all && (n < len(got) || err.Error() == "EOF" && n != len(got)) {
			t.Fatalf("%d bytes are still to come of %d", n, len(got))
		}
		if !all && err.Error() == "EOF" {
			t.Fatalf("all of %d bytes is here, which nobody knew", len(got))
		}
	})
}
