// Package compress is middleware that compresses text on its way to the client: what no
// cache holds in a form of its own.
//
//	zip, err := compress.New(compress.Options{})
//	if err != nil {
//		return err
//	}
//	front, err := router.New(router.Options{}, router.Rule{Name: "shop", To: zip.Handler(pages.Handler(apps))})
//
// Above a cache that compresses what it stores it does the rest: answers that are not
// stored, or have no form yet. What it has to compress is answered by the chain each
// time; only what a cache has compressed does an edge answer from heads.
//
// It compresses as the handler writes, in gzip or zstd, and flushes as the handler
// does. What has a coding already, as what a cache has compressed, goes through as it
// is, and so do parts, event streams, upgrades, what is no text, has less than 1 KiB,
// states a digest of itself or no-transform, and what is flushed before it has begun. An
// ETag becomes a weak one: conditions for the one form match the other too.
//
// An answer in which something secret stands beside something that an attacker may
// choose tells by its length whether they are alike (BREACH). So what is for one
// visitor alone is left as it is, unless [Options.Private] says otherwise: answers that
// set a cookie, and those to requests with Authorization or a cookie of a session,
// but for those that say themselves that they are everybody's (Age, public, s-maxage).
// Up to 32 bytes that depend on the content are added to all that is compressed.
package compress

import (
	"net/http"
	"sync/atomic"

	"github.com/klauspost/compress/gzhttp"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fair"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// Options configures a [Compressor]. The zero value is valid.
type Options struct {
	// Private has answers compressed, too, that set a session or need one: see the
	// package's documentation. It is for shops whose secrets, such as tokens against
	// forged requests, are other ones in each answer. False leaves them as they are.
	Private bool
	// IgnoreCookies names cookies that make no session, those of analytics as a rule;
	// "_ga*" names all that begin with _ga. Cookies of the tier's own, such as a pool's pin,
	// never do. Nil names none.
	IgnoreCookies []string
	// AtOnce is how many answers are compressed at once, each of which takes about a
	// megabyte until its client has it; one client (an IPv4 address or an IPv6 /64) gets
	// seven times what is free. What is beyond is sent as it is. Zero means 128,
	// negative an error.
	AtOnce int
}

// A Compressor compresses answers of the handlers that it wraps. It is safe for
// concurrent use.
type Compressor struct {
	opts  Options
	wrap  func(http.Handler) http.HandlerFunc
	inUse atomic.Int32
	held  fair.Table // of inUse, by client

	coded, private, crowded atomic.Uint64
	saved                   atomic.Int64
}

// defaultAtOnce is what AtOnce means if it is 0.
const defaultAtOnce = 128

// jitter is how many bytes are added at most, which hides differences of a few: Palacios
// et al., HTB: A Very Effective Method to Protect Web Servers Against BREACH Attack to
// HTTPS, IEEE Access 2022.
const jitter = 32

// New returns a Compressor. It starts nothing.
func New(opts Options) (*Compressor, error) {
	if opts.AtOnce < 0 {
		return nil, errAtOnce
	}
	if opts.AtOnce == 0 {
		opts.AtOnce = defaultAtOnce
	}
	opts.IgnoreCookies = append([]string(nil), opts.IgnoreCookies...)
	wrap, err := gzhttp.NewWrapper(
		gzhttp.MinSize(fields.MinCoded),
		gzhttp.SetContentType(false),
		gzhttp.ContentTypeFilter(func(string) bool { return true }), // it is asked when that is settled
		gzhttp.RandomJitter(jitter, 0, false),
	)
	if err != nil {
		return nil, err
	}
	return &Compressor{opts: opts, wrap: wrap}, nil
}

// Handler returns next with its answers compressed. The returned handler also has the
// methods Explain, Healthy and Wraps, by which a layer above asks what lies below.
func (c *Compressor) Handler(next http.Handler) http.Handler {
	h := &handler{c: c, next: next}
	for below := range health.Chain(next) {
		if o, ok := below.(health.CookieOwner); ok {
			h.owners = append(h.owners, o)
		}
	}
	return h
}

// Report implements [health.Reporter].
func (c *Compressor) Report() health.Report {
	return health.Report{Kind: "compressor", Name: "compressor", State: health.Up, Metrics: []health.Metric{
		health.Count("answers_compressed_total", "Answers compressed on their way.", c.coded.Load()),
		health.Count("answers_private_total", "Answers left as they were, since they set a session or need one.", c.private.Load()),
		health.Count("answers_crowded_total", "Answers left as they were, since too many others were being compressed.", c.crowded.Load()),
		{Name: "saved_bytes_total", Help: "Saved bytes: so much smaller were the answers.", Unit: "bytes", Kind: health.Counter, Value: float64(max(0, c.saved.Load()))},
		health.Level("answers_in_hand", "Answers that are being compressed.", "", float64(c.inUse.Load())),
	}}
}

// enter takes a place for an answer to a request, and reports whether there is one.
func (c *Compressor) enter(r *http.Request) (leave func(), ok bool) {
	free := c.opts.AtOnce - int(c.inUse.Add(1)) + 1
	held := c.held.Count(fair.Of(transit.Client(r)))
	if free <= 0 || held != nil && fair.Over(int(held.Load()), free) {
		c.inUse.Add(-1)
		return nil, false
	}
	if held != nil {
		held.Add(1)
	}
	return func() {
		if held != nil {
			held.Add(-1)
		}
		c.inUse.Add(-1)
	}, true
}
