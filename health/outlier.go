package health

import (
	"cmp"
	"errors"
	"time"
)

// Outlier says which outcomes of requests take a backend out, and for how
// long. The zero Outlier stands for the defaults named at the fields.
type Outlier struct {
	Consecutive int           // failures in a row; 5. Two refused connections in a row are always enough. Negative: off
	MinSuccess  float64       // it goes if a smaller share of requests is answered, with less than 500; 0.5. Negative: off
	MinSamples  int           // the latest requests over which the share is taken, or some more; 20
	Window      time.Duration // how far back they may lie; 10 s
	Base        time.Duration // the first time out, doubled each time, ±20%; 5 s
	Max         time.Duration // the longest time out; 60 s
	MaxEjected  float64       // largest share of a pool out on soft evidence; 0.5. Negative: none
}

// WithDefaults returns o with its zero fields filled in.
func (o Outlier) WithDefaults() Outlier {
	o.Consecutive = cmp.Or(o.Consecutive, 5)
	o.MinSuccess = cmp.Or(o.MinSuccess, 0.5)
	o.Window = cmp.Or(o.Window, 10*time.Second)
	o.MinSamples = cmp.Or(o.MinSamples, 20)
	o.Base = cmp.Or(o.Base, 5*time.Second)
	o.Max = cmp.Or(o.Max, time.Minute)
	o.MaxEjected = cmp.Or(o.MaxEjected, 0.5)
	return o
}

// Validate says which field makes no sense.
func (o Outlier) Validate() error {
	if o.Window < 0 || o.Base < 0 || o.Max < 0 || o.MinSamples < 0 {
		return errors.New("health: Outlier.Window, Base, Max and MinSamples are not negative")
	}
	if o.MinSuccess > 1 || o.MaxEjected > 1 {
		return errors.New("health: Outlier.MinSuccess and MaxEjected are shares, at most 1")
	}
	return nil
}
