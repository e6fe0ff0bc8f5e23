package fields

import (
	"net/http"
	"testing"
)

func TestLength(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  int64
	}{
		{nil, -1}, {[]string{"0"}, 0}, {[]string{"12"}, 12}, {[]string{"9223372036854775807"}, 1<<63 - 1}, {[]string{"9223372036854775808"}, -1},
		{[]string{"-1"}, -1}, {[]string{"+1"}, -1}, {[]string{""}, -1}, {[]string{"1", "1"}, -1}, {[]string{"1, 1"}, -1}, {[]string{" 1"}, -1}, {[]string{"0x1"}, -1},
	} {
		if got := Length(http.Header{"Content-Length": c.lines}); got != c.want {
			t.Errorf("%q: got %d, want %d", c.lines, got, c.want)
		}
	}
}
