package h2

import (
	"fmt"

	x "golang.org/x/net/http2"

	"github.com/foretier/foretier/internal/http2"
	"github.com/foretier/foretier/router/edge/internal/h1"
)

// errReset is the cause of a request's context if its client has given it up: it has left,
// as far as that request goes.
var errReset = fmt.Errorf("the client has reset the stream: %w", h1.ErrGone)

func protocol(format string, args ...any) error {
	return &http2.ConnError{Code: x.ErrCodeProtocol, Cause: fmt.Sprintf(format, args...)}
}

func calm(format string, args ...any) error {
	return &http2.ConnError{Code: x.ErrCodeEnhanceYourCalm, Cause: "too much of " + fmt.Sprintf(format, args...)}
}
