package health

import (
	"cmp"
	"errors"
	"time"
)

// Schedule says when a backend is probed and how much it takes to change its
// health. The zero Schedule stands for the defaults named at the fields.
type Schedule struct {
	Every    time.Duration // between two probes, ±20%; 5 s
	Changing time.Duration // likewise, while its health may change; 1 s
	Timeout  time.Duration // for one probe; 2 s
	Rise     int           // good probes in a row until it is up again; 2
	Fall     int           // bad probes in a row until it is down; 3
}

// WithDefaults returns s with its zero fields filled in. A negative field is
// an error that [Schedule.Validate] tells.
func (s Schedule) WithDefaults() Schedule {
	s.Every = cmp.Or(s.Every, 5*time.Second)
	s.Changing = cmp.Or(s.Changing, time.Second)
	s.Timeout = cmp.Or(s.Timeout, 2*time.Second)
	s.Rise = cmp.Or(s.Rise, 2)
	s.Fall = cmp.Or(s.Fall, 3)
	return s
}

// Validate says which field makes no sense.
func (s Schedule) Validate() error {
	if s.Every < 0 || s.Changing < 0 || s.Timeout < 0 || s.Rise < 0 || s.Fall < 0 {
		return errors.New("health: a Schedule has no negative fields")
	}
	return nil
}
