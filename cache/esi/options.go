package esi

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/foretier/foretier/internal/fields"
)

// Options configures a [Processor]. The zero value is valid.
type Options struct {
	// Name is how the processor calls itself in Surrogate-Capability and in its
	// report, and by which Surrogate-Control may address it. Zero means
	// "Foretier-ESI". It must be a token (RFC 9110, section 5.6.2), and other than
	// the cache's.
	Name string
	// Also says which answers are composed besides those whose Surrogate-Control asks
	// for it: [HTML], for a backend that has ESI in its pages and does not say so, as
	// Magento does. What it says counts for fragments too. It is called with answers
	// that have a body, must not change the header, and may be called by many
	// goroutines. Nil means no others.
	Also func(r *http.Request, status int, header http.Header) bool
	// Hosts are those that fragments may come from besides the page's own, by name,
	// without scheme and port: for each the handlers below must have an answer. They
	// get no cookies, no Authorization, and of the page's header only what says who
	// asks and what they accept. Nil means none.
	Hosts []string
	// MaxDepth is how many fragments may be within one another. Zero means 5.
	MaxDepth int
	// MaxFragments is how many fragments a page may have in all. Zero means 64.
	MaxFragments int
	// MaxBytes is how many bytes the fragments of a page may have in all; what goes
	// beyond cuts off the page. Zero means 16 MiB.
	MaxBytes int64
	// Wait is for how long a page whose turn has come to a fragment waits for it to
	// send something; then the fragment has failed. Zero means 10 s.
	Wait time.Duration
	// Logger receives a line where a fragment has panicked and, where nobody above
	// logs, one for each page that has failed or lacks a fragment. Nil means
	// slog.Default().
	Logger *slog.Logger
}

// HTML reports whether an answer is HTML: see [Options.Also].
func HTML(_ *http.Request, _ int, header http.Header) bool {
	kind, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	kind = strings.TrimSpace(kind)
	return fields.EqualFold(kind, "text/html") || fields.EqualFold(kind, "application/xhtml+xml")
}

// withDefaults fills in what o leaves out, and checks the rest.
func (o Options) withDefaults() (Options, error) {
	o.Name = cmp.Or(o.Name, "Foretier-ESI")
	o.MaxDepth = cmp.Or(o.MaxDepth, 5)
	o.MaxFragments = cmp.Or(o.MaxFragments, 64)
	o.MaxBytes = cmp.Or(o.MaxBytes, 16<<20)
	o.Wait = cmp.Or(o.Wait, 10*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	switch {
	case !fields.Token(o.Name):
		return o, fmt.Errorf("esi: Name is %q: want a token, such as Shop-ESI", o.Name)
	case o.MaxDepth < 0 || o.MaxFragments < 0 || o.MaxBytes < 0 || o.Wait < 0:
		return o, fmt.Errorf("esi: MaxDepth %d, MaxFragments %d, MaxBytes %d, Wait %v: want none below zero, which stands for the default", o.MaxDepth, o.MaxFragments, o.MaxBytes, o.Wait)
	}
	hosts := make([]string, 0, len(o.Hosts))
	for _, h := range o.Hosts {
		if _, port := fields.SplitPort(h); !fields.Host(h) || port != "" {
			return o, fmt.Errorf("esi: Hosts has %q: want a name without scheme and port, such as static.example", h)
		}
		hosts = append(hosts, fields.Hostname(h))
	}
	o.Hosts = hosts
	return o, nil
}
