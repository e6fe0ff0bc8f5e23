package http1

import "testing"

func TestWholeChunks(t *testing.T) {
	whole := "5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n"
	for n := range whole {
		if wholeChunks([]byte(whole[:n])) {
			t.Errorf("%q counts as whole", whole[:n])
		}
	}
	for body, want := range map[string]bool{
		whole: true, whole + "HTTP/1.1 200 OK": true, "0\r\n\r\n": true, "0\n\n": true,
		"": false, "x\r\n\r\n": false, "-1\r\n\r\n": false, "ffffffffffffffffff\r\n\r\n": false,
		"5\r\n0\r\n\r\n": false, // of which the end is no end
	} {
		if wholeChunks([]byte(body)) != want {
			t.Errorf("%q: want %t", body, want)
		}
	}
}
