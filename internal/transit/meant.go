package transit

import "errors"

// Meant returns err as the cause of an answer that somebody has ordered, an
// operator who closes the shop or a client who wants what is stored or nothing:
// whatever its status, nothing has failed, and the log need not be alarmed.
func Meant(err error) error { return meant{err} }

type meant struct{ error }

// Unwrap serves [errors.Is].
func (m meant) Unwrap() error { return m.error }

// IsMeant reports whether the cause err is one of [Meant].
func IsMeant(err error) bool {
	var m meant
	return errors.As(err, &m)
}
