package fields

import (
	"errors"
	"net/textproto"
	"strings"
)

// Mute returns err, of one of net/http's transports, as a log may have it: what it says of
// a line that cannot be read it says with the line, which may be a cookie.
func Mute(err error) error {
	var line textproto.ProtocolError
	if !errors.As(err, &line) {
		return err
	}
	what, _, _ := strings.Cut(string(line), ": \"")
	return muted{what, err}
}

type muted struct {
	what string
	error
}

func (m muted) Error() string { return m.what }

func (m muted) Unwrap() error { return m.error }
