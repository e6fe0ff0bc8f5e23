package http1

import (
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

func TestWholeChunks(t *testing.T) {
	outlineOf := func(text string) outline { return Body{state: atChunk, reply: true}.outline([]byte(text)) }
	whole := "5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n"
	for n := range whole {
		if outlineOf(whole[:n]).whole {
			t.Errorf("%q counts as whole", whole[:n])
		}
	}
	for body, want := range map[string]outline{
		whole: {15, true, true}, whole + "HTTP/1.1 200 OK": {15, true, true}, "0\r\n\r\n": {0, true, false},
		"3\r\nabc\r\n0\r\n\r\n": {3, true, false},
		"":                      {}, "x\r\n\r\n": {}, "-1\r\n\r\n": {}, "ffffffffffffffffff\r\n\r\n": {},
		"0\n\n": {}, "0\r\n\n": {}, // which the reader refuses
		"3\r\nabcde0\r\n\r\n": {size: 3},
		"5\r\n0\r\n\r\n":      {size: 5}, // of which the end is no end
	} {
		if got := outlineOf(body); got != want {
			t.Errorf("%q: %+v, want %+v", body, got, want)
		}
	}
}

// TestOutlinesAreTheReaders: what is known of chunks before they are read is what reading
// them finds, whatever was sent.
func TestOutlinesAreTheReaders(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"0\r\n\r\n", "0\r\n", "\r\n", "3\r\nabc\r\n", "1\r\nx\r\n", "a\r\n0123456789\r\n", "5;x=y\r\nhello\r\n", "2;a=\"b\"\r\nok\r\n",
		"X-Sum: 1\r\n", "X : 1\r\n", "\n", "3\nabc\n", "ff\r\n", "-1\r\n", "2;\"\r\n", "0;" + strings.Repeat("x", maxChunkLine) + "\r\n", "HTTP/1.1 200 OK\r\n"}
	whole := 0
	for range 50_000 {
		var text strings.Builder
		for range rnd.IntN(6) {
			text.WriteString(pieces[rnd.IntN(len(pieces))])
		}
		body := text.String()
		if rnd.IntN(2) == 0 {
			body += "0\r\n\r\n"
		}
		body = body[:len(body)-rnd.IntN(len(body)/2+1)/(1+rnd.IntN(4))]
		var in Buffer
		in.Reset(strings.NewReader(body))
		var trailer http.Header
		b := Body{buf: &in, state: atChunk, reply: true, Trailer: &trailer}
		got := b.outline([]byte(body))
		data, err := io.ReadAll(&b)
		if got.whole != (err == nil) || got.whole && (got.size != int64(len(data)) || got.trailed != (trailer != nil)) {
			t.Fatalf("%q: %+v, and the reader finds %d bytes, %v, %v", body, got, len(data), trailer, err)
		}
		if got.whole {
			whole++
		}
	}
	if whole < 5000 {
		t.Errorf("only %d were whole", whole)
	}
}
