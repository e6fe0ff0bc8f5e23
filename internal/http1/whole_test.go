package http1

import "testing"

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
