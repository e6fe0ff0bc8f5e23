package fields

import (
	"math"
	"time"
)

// DeltaSeconds parses a non-negative number of seconds; what is larger than
// 2,147,483,647 is that (RFC 9111, section 1.2.2).
func DeltaSeconds(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		if n = n*10 + int64(s[i]-'0'); n > math.MaxInt32 {
			n = math.MaxInt32
		}
	}
	return time.Duration(n) * time.Second, true
}
