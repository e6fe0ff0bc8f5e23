package http1

import (
	"bytes"
	"fmt"

	"github.com/foretier/foretier/internal/fields"
)

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

// What follows is what a log line may have of a message that cannot be read: never a
// field's value, which may be a cookie or a password, nor what may be of a body.

// clip shortens what somebody sent, of a kind that is told.
func clip(b []byte) []byte { return b[:min(len(b), 200)] }

// told is a target without a login.
func told(target string) []byte { return clip([]byte(fields.WithoutLogin(target))) }

// beginning is what is told of a line that is none of a message: it may be a body's.
func beginning(line []byte) string {
	return fmt.Sprintf("%q... of %d bytes", line[:min(len(line), 4)], len(line))
}

// shape is what is told of a line that is no field: the name that it begins with, if
// there is a colon.
func shape(line []byte) string {
	n := 0
	for n < len(line) && lower[line[n]] != 0 {
		n++
	}
	if n == 0 || bytes.IndexByte(line, ':') < 0 {
		return fmt.Sprintf("of %d bytes", len(line))
	}
	return fmt.Sprintf("%s... of %d bytes", clip(line[:n]), len(line))
}
