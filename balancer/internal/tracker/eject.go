package tracker

import (
	"math"
	"time"

	"github.com/foretier/foretier/health"
)

// MayEject reports whether one more of total backends may be taken out on soft
// evidence when ejected of them are out already.
func MayEject(o health.Outlier, ejected, total int) bool {
	return float64(ejected+1) <= o.MaxEjected*float64(total)
}

// period returns how long the backend stays out the nth time in a row, counted
// from 0. jitter, from 0 to 1, spreads it from 80% to 120%, so that several
// gateways do not let it back in at one moment.
func period(o health.Outlier, n int, jitter float64) time.Duration {
	d := min(float64(o.Base)*math.Pow(2, float64(n)), float64(o.Max))
	return time.Duration(d * (0.8 + 0.4*jitter))
}
