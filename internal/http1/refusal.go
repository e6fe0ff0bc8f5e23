package http1

import "fmt"

// A Refusal is why a message is not read: nothing can be made of what follows it
// on its connection either.
type Refusal struct {
	Status int    // with which a request is answered
	Cause  string // in words, for the log
}

// Error returns the cause, which whoever logs it sets beside what it is of.
func (e *Refusal) Error() string { return e.Cause }

func refuse(status int, format string, args ...any) error {
	return &Refusal{status, fmt.Sprintf(format, args...)}
}

// clip shortens what somebody sent for a log line.
func clip(b []byte) []byte { return b[:min(len(b), 200)] }
