package cache

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/given"
)

// Options configures a [Cache]. The zero value is valid.
type Options struct {
	// Name is how the cache calls itself in Cache-Status, in its report and in
	// its targeted field (RFC 9213), <Name>-Cache-Control. Zero means
	// "Foretier". It must be a token (RFC 9110, section 5.6.2).
	Name string
	// MaxBytes bounds everything held: bodies, headers, keys, tags, running
	// fetches, and what a slow client still reads after it was evicted. Zero
	// means 256 MiB; less than 1 MiB is an error.
	//
	// What is read and no longer stored, or never will be, may take a quarter of
	// it when room is short. For what goes beyond, readers are given up and their
	// responses cut off, before anything else is evicted: first those who have
	// taken nothing for longest, the more so the more their client (an IPv4
	// address, an IPv6 /64) holds. What they are slow to let go of may take
	// another tenth for a moment, and 4 KiB are read ahead of each response for
	// which there is no room. A ResponseWriter on which [http.ResponseController]
	// can set no write deadline is not given up.
	//
	// The process takes more: Go's collector lets garbage pile up beside what is
	// held, so expect a resident size of 1.4 to 2.7 times MaxBytes. Where memory
	// is short, in a container above all, set GOMEMLIMIT to some 90% of what
	// there is, and MaxBytes to half of that or less. With such a limit GOGC=400
	// saves work while the cache holds little.
	MaxBytes int64
	// MaxBody is the largest body stored, in bytes. Zero means 16 MiB; it is
	// never more than MaxBytes/16. Larger responses go straight through. If that
	// shows only while one comes in, of unknown length, those who read it along
	// do not wait for one another: who falls behind gets what is there already,
	// and then what follows from a fetch of its own, if that begins with the same
	// bytes; if not, its response is cut off.
	MaxBody int64
	// Grace is how long a stale response is served while it is refreshed
	// behind the client's back, if the response does not say (by
	// stale-while-revalidate, RFC 5861) and its lifetime came from a rule. It
	// is also how long one is served after a soft purge. Zero means 10 s,
	// negative means never.
	Grace time.Duration
	// ErrorGrace is how long a stale response is served in place of an error,
	// a timeout, or a backend known to be sick, if the response does not say
	// (by stale-if-error, must-revalidate and kin). Zero means 24 h, negative
	// means never.
	ErrorGrace time.Duration
	// Keep is how much longer a response with a validator is kept, to be
	// validated and not fetched again. Zero means 5 min, negative means not at
	// all.
	Keep time.Duration
	// Wait is how long a request waits for the headers of another request's
	// fetch; then one of those who wait asks for itself, and the others wait
	// for that one. Zero means 10 s.
	Wait time.Duration
	// Fetch is the time a fetch may take while it may still be stored. Once its
	// headers say that it cannot be stored, it lives as long as its client. One
	// that nobody waits for any more ends at once, since it holds a place at a
	// backend; but if its URL was stored before, or its headers say that it
	// will be, eight such go on for each handler, and two of one client (an IPv4
	// address or an IPv6 /64). A rule of the router that gives
	// the backend longer to answer extends it; one that sets no limit makes it
	// an hour. Zero means 60 s.
	Fetch time.Duration
	// Rules are the operator's, on top of RFC 9111. The zero value has none.
	Rules Rules
	// Lifetimes is how long an answer that states no lifetime is fresh, by its status:
	// 404: time.Minute, 302: time.Hour. What must not be stored for another reason is
	// not stored for it, and [Rules] have the last word. Zero and negative lifetimes
	// have those of a status not stored; nil, and a status that is not in it,
	// leave the answer to heuristics (RFC 9111, section 4.2.2). Statuses below 200 are
	// an error, as are 206 and 304, which tell of parts.
	Lifetimes map[int]time.Duration
	// IgnoreNoStore has the cache store for others what a client gets who has said
	// no-store, as some browsers and scripts do with every reload, and coalesce its
	// misses: RFC 9111, section 5.2.1.5, gives each visitor a say in that, and each
	// such request is one to a backend. False obeys.
	IgnoreNoStore bool
	// IgnoreNoVarySearch has URLs be told apart whatever a response says of their
	// parameters in No-Vary-Search (draft-ietf-httpbis-no-vary-search). False goes by it:
	// by params=("utm_source") a response answers for all URLs that differ in that
	// parameter only, and is asked for by the one without. A purge of any of them is one
	// of it.
	//
	// Requests are told apart all the same where the query has a say in which rule of a
	// router takes them, and where the cache has several handlers and there is no router
	// above. What is below the cache, a router too, counts as the origin. Set it where
	// something of your own before the cache reads the query and puts into requests what
	// answers do not vary on. A value of more than 1 KiB is not heeded, nor are more than
	// 4,096 such responses of one path.
	IgnoreNoVarySearch bool
	// IgnoreCookies names cookies that have no bearing on a response, those of
	// analytics as a rule ([Analytics]); "_ga*" names all that begin with _ga. They are
	// taken off a request that is looked up, before anything else is decided;
	// a request that passes keeps them.
	IgnoreCookies []string
	// Orders names the clients whose requests may order by Cache-Control and
	// Pragma how fresh an answer is to be, or that it is to come from the cache
	// only (RFC 9111, section 5.2.1): those who may purge, as a rule. Those of
	// all others are not looked at, nor sent along with a fetch, since a reload
	// must not buy a backend's work, nor replace a page. What they get with
	// no-store is not stored, whoever asks. A 400, 403 or 451, which anybody can
	// bring about by odd fields, is kept for others only if one of these has asked,
	// or a rule says so. Nil means nobody.
	Orders []netip.Prefix
	// FillFields names the fields of a request that may go along with one that
	// fills the cache; "X-Shop-*" names all that begin so. A request with any
	// other is answered from the cache, but what it fetches is stored only if
	// the answer's Vary names all of those. So what one client says in a field
	// that is not in the key, and that nobody has thought of, is in nobody
	// else's page. [BrowserFields] are the usual ones, those of an application
	// and of proxies in front come on top, Via for one. Fields that the cache
	// and the tier look after themselves need not be named: Accept-Encoding,
	// Authorization, Cache-Control, Cookie, conditions and ranges, X-Request-Id,
	// traceparent where an edge looks after it, and those of a connection. Nil means that all may, empty that no other.
	FillFields []string
	// Compress is what text is compressed with once it is stored, the coding first that
	// is sent rather where a client wants several alike (RFC 9110, section 12.5.3):
	// codings.All() as a rule. It happens behind everybody's back, on half of the
	// processors at most, and only in codings that clients want most: in one when a
	// response has been stored, in others when somebody asks for them. Until then it is
	// sent as it is. What is made counts within MaxBytes and lives as long as what it was
	// made from; what coders themselves need while they work, a few megabytes each, comes
	// on top.
	//
	// Text is what has such a type, has 1 KiB at least, states no digest of itself and no
	// no-transform. What a backend has coded itself stays so. What is sent in a coding
	// has an ETag of its own, a weak one; Vary names Accept-Encoding, whether it is sent
	// so or not. Requests for ranges are answered from what is not coded.
	//
	// Nil compresses nothing. There are four codings at most.
	Compress []Coder
	// Feed tells the caches of several gateways what one of them invalidates, and
	// needs [Cache.Run]. The gateways have the same Rules, since it is by the forms
	// that their queries have in the key that URLs are named.
	//
	// A cache that has heard nothing of its feed for 10 s, or nothing yet, is cut off,
	// and doubts what it holds. What is fresh by its own lifetime is served as if it
	// were stale within grace, however long that lasts and whatever its grace: at once,
	// and after 10 s with one request behind it that refreshes it. Such refreshes are
	// bounded by three quarters of the backend's requests before, so
	// that nothing fails, and nothing is stormed, for want of the feed. When it is
	// back, what has been missed is applied; if that cannot be known any more, all
	// that is stored is in doubt, is served and refreshed for Grace, and fetched
	// after that. Nil means that the cache is alone.
	Feed Feed
	// Store is the second level, which the caches of several gateways have in common:
	// what one of them fetches is there for the others, and for one that starts. It
	// needs a Feed, which says what of it is out of date, and [Cache.Run]; the gateways
	// have the same Rules and backends, and what those of another Version have stored
	// is another's.
	//
	// It is asked before a backend is, for 25 ms at most. A copy from there goes into
	// memory if nothing has been invalidated since that names it: not since a time, but
	// since a position in the feed. One from before what is known of the feed (100,000
	// invalidations, those before a start too) serves to be validated, and in place of
	// errors, as one does that a soft invalidation names. So a purge need not delete it,
	// and a copy saved late does no harm. Of what is refreshed while it is served, one
	// gateway holds a lease and refreshes it for all, for 10 s at most; who waits for a
	// response waits for no other gateway.
	//
	// What is stored is saved meanwhile, if it is no larger than 2 MiB, for as long as it
	// is fresh and then for the longer of its grace and [Options.Keep]. When the store
	// fails, memory serves, and 1,024 copies wait, of 16 MiB and a sixteenth of MaxBytes
	// in all; it is left alone for a second, and longer each time up to 30, after five
	// calls in a row have failed. What it has not it is not asked for again for a
	// second. Nil means that there is none.
	Store Store
	// PurgeByHost has what [Cache.PurgeHandler] is sent count for the host that it
	// is sent to alone, on every port: tags, and all of a cache. It is for several
	// shops behind one tier, whose tags are the same, as "cat_p_1" is to all of one
	// software; each of them has to send its purges to a host of its own. False means
	// that tags count on every host.
	PurgeByHost bool
	// Logger receives what somebody should look at, such as a fetch that
	// panicked or a refresh that failed (a few, then one a second), and, where
	// nobody above logs, a line for each request that failed.
	// Nil means slog.Default().
	Logger *slog.Logger
}

// withDefaults fills in what o leaves out, and checks the rest.
func (o Options) withDefaults() (Options, error) {
	o.Name = cmp.Or(o.Name, "Foretier")
	o.MaxBytes = cmp.Or(o.MaxBytes, 256<<20)
	o.MaxBody = cmp.Or(o.MaxBody, 16<<20)
	o.Grace = cmp.Or(o.Grace, 10*time.Second)
	o.ErrorGrace = cmp.Or(o.ErrorGrace, 24*time.Hour)
	o.Keep = cmp.Or(o.Keep, 5*time.Minute)
	o.Wait = cmp.Or(o.Wait, 10*time.Second)
	o.Fetch = cmp.Or(o.Fetch, 60*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	o.IgnoreCookies = slices.Clone(o.IgnoreCookies)
	o.Lifetimes = maps.Clone(o.Lifetimes)
	o.Compress = slices.Clone(o.Compress)

	var errs []error
	var err error
	if o.FillFields, err = fillFields(o.FillFields); err != nil {
		errs = append(errs, err)
	}
	if !fields.Token(o.Name) {
		errs = append(errs, fmt.Errorf("cache: Name %q is not a token", o.Name))
	}
	if o.Orders, err = given.Prefixes(o.Orders); err != nil {
		errs = append(errs, fmt.Errorf("cache: Orders: %w", err))
	}
	for status := range o.Lifetimes {
		if status < 200 || status > 599 || status == http.StatusPartialContent || status == http.StatusNotModified {
			errs = append(errs, fmt.Errorf("cache: Lifetimes has one for status %d", status))
		}
	}
	if o.Store != nil && o.Feed == nil {
		errs = append(errs, errors.New("cache: Store needs Feed: what is invalidated at one gateway would come back from it at the others"))
	}
	if o.MaxBytes < 1<<20 {
		errs = append(errs, fmt.Errorf("cache: MaxBytes is %d, less than 1 MiB", o.MaxBytes))
	}
	if o.MaxBody < 0 {
		errs = append(errs, fmt.Errorf("cache: MaxBody is %d; Plan.Pass switches storing off", o.MaxBody))
	}
	if o.Wait < 0 || o.Fetch < 0 {
		errs = append(errs, errors.New("cache: Wait and Fetch must not be negative"))
	}
	o.MaxBody = min(o.MaxBody, o.MaxBytes/16)
	o.Grace, o.ErrorGrace, o.Keep = max(o.Grace, 0), max(o.ErrorGrace, 0), max(o.Keep, 0)
	return o, errors.Join(errs...)
}
