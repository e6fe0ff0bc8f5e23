package fields

import (
	"math"
	"testing"
	"time"
)

func TestDeltaSeconds(t *testing.T) {
	const forever = math.MaxInt32 * time.Second
	cases := map[string]struct {
		want time.Duration
		ok   bool
	}{
		"0": {0, true}, "60": {time.Minute, true}, "0060": {time.Minute, true},
		"2147483647": {forever, true}, "2147483648": {forever, true}, "99999999999999999999999": {forever, true},
		"": {}, "-1": {}, "+1": {}, "1.0": {}, "1s": {}, "'60'": {}, " 1": {},
	}
	for in, c := range cases {
		if got, ok := DeltaSeconds(in); got != c.want || ok != c.ok {
			t.Errorf("%q: got %v %t", in, got, ok)
		}
	}
}
