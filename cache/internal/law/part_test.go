package law

import "testing"

func TestParseContentRange(t *testing.T) {
	for in, want := range map[string]Span{
		"bytes 4-9/10": {4, 6, 10}, "bytes 0-0/1": {0, 1, 1},
		"bytes 4-9/*": {}, "bytes */10": {}, "bytes 4-10/10": {}, "bytes 5-4/10": {}, "bytes -4-9/10": {},
		"bytes 4-+9/10": {}, "items 4-9/10": {}, "bytes 4-9": {}, "": {}, "bytes 4-9223372036854775807/9223372036854775808": {},
	} {
		got, ok := ParseContentRange([]string{in})
		if ok != (want != Span{}) || ok && got != want {
			t.Errorf("%q: got %v %t", in, got, ok)
		}
	}
	if _, ok := ParseContentRange([]string{"bytes 0-0/1", "bytes 0-0/1"}); ok {
		t.Error("two lines passed")
	}
}

func TestWithin(t *testing.T) {
	s := Span{4, 5, 10} // bytes 4 to 8 of 10
	for in, want := range map[string]Span{
		"bytes=4-8": {4, 5, 10}, "bytes=6-7": {6, 2, 10}, "bytes=4-4": {4, 1, 10},
		"bytes=3-5": {}, "bytes=8-9": {}, "bytes=6-": {}, "bytes=-1": {}, "bytes=20-30": {},
		"bytes=6-5": {}, "bytes=-0": {}, "bytes=-": {}, "bytes=4-5,6-7": {}, "items=4-5": {}, "bytes=+4-5": {}, "": {},
	} {
		got, ok := s.Within([]string{in})
		if ok != (want != Span{}) || ok && got != want {
			t.Errorf("%q: got %v %t, want %v", in, got, ok, want)
		}
	}
	whole := Span{0, 10, 10}
	for in, want := range map[string]Span{"bytes=6-": {6, 4, 10}, "bytes=-3": {7, 3, 10}, "bytes=-30": {0, 10, 10}, "bytes=8-30": {8, 2, 10}} {
		if got, ok := whole.Within([]string{in}); !ok || got != want {
			t.Errorf("%q of the whole: got %v %t", in, got, ok)
		}
	}
	for in, want := range map[string]bool{"bytes=0-": true, "bytes=-5": true, "bytes=1-2": true, "bytes=1-2,3-4": false, "bytes": false} {
		if OneRange([]string{in}) != want {
			t.Errorf("OneRange %q", in)
		}
	}
}
