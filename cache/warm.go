package cache

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/given"
)

// WarmOptions configures [Warm]. The zero value is valid.
type WarmOptions struct {
	// AtOnce is how many URLs are asked for at once. Zero means 4, which a backend
	// hardly notices; negative is an error.
	AtOnce int
	// Header is what each request has in its fields beside Accept, Accept-Encoding
	// and User-Agent, which are as a browser's, or in place of those: Accept-Language
	// where pages vary on it. What it names must be among [Options.FillFields], if
	// those are given.
	Header http.Header
}

// Warmed says what [Warm] has done.
type Warmed struct {
	Stored  int // asked for, and stored by now, unless it turned out too large as it came
	Already int // found stored, validated if need be; what else is stale of it is being refreshed
	Failed  int // not answered, or with a status of 400 or more
	// NotStored is how many were answered and not stored, by why, in the words of
	// Cache-Status; of many reasons some are "other".
	NotStored map[string]int
}

// maxWarmErrors is how many URLs that failed are told by name.
const maxWarmErrors = 10

// Warm asks front, which has a cache in it, for URLs, as visitors would who have no
// cookies, so that the first who come find them stored: pages that are absolute URLs of
// http or https, as they are asked for by browsers. front is what serves, the router for
// one, without an edge, whose backends should be up: see a pool's WaitReady. It takes
// the next URL when one is done.
//
// It returns once all are done or ctx has ended, with which requests end that are under
// way. The error holds ctx's, and of the URLs that failed the first ten. To store variants
// call it again with another [WarmOptions.Header].
func Warm(ctx context.Context, front http.Handler, urls iter.Seq[string], opts WarmOptions) (Warmed, error) {
	if given.Nil(front) || urls == nil {
		return Warmed{}, errors.New("cache: warm: no handler, or no URLs")
	}
	if opts.AtOnce < 0 {
		return Warmed{}, fmt.Errorf("cache: warm: AtOnce is %d", opts.AtOnce)
	}
	w := warming{front: front, header: warmHeader(opts.Header)}
	next := make(chan string)
	var wg sync.WaitGroup
	for range cmp.Or(opts.AtOnce, 4) {
		wg.Go(func() {
			for line := range next {
				w.ask(ctx, line)
			}
		})
	}
	for line := range urls {
		if !offer(ctx, next, line) {
			break
		}
	}
	close(next)
	wg.Wait()
	return w.result(ctx)
}

// offer hands a URL to whoever is free, unless ctx has ended.
func offer(ctx context.Context, next chan<- string, line string) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case next <- line:
		return true
	case <-ctx.Done():
		return false
	}
}

func warmHeader(own http.Header) http.Header {
	h := http.Header{
		"Accept":          {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
		"Accept-Encoding": {"gzip, deflate, br, zstd"},
		"User-Agent":      {"Mozilla/5.0 (compatible; Foretier)"},
	}
	maps.Copy(h, own.Clone())
	return h
}

// A warming is a call of Warm.
type warming struct {
	front  http.Handler
	header http.Header

	reasons reasons

	mu     sync.Mutex
	done   Warmed  // guarded by mu, but for NotStored
	failed []error // guarded by mu
}

// ask asks for one URL.
func (w *warming) ask(ctx context.Context, line string) {
	r, err := w.request(ctx, line)
	var out discard
	if err == nil {
		out.header = make(http.Header)
		err = out.serve(w.front, r)
	}
	if err == nil && ctx.Err() != nil {
		err = ctx.Err() // it may have been answered for that reason
	}
	if err == nil && out.status >= 400 {
		err = fmt.Errorf("answered %d%s", out.status, out.why())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	status := out.cacheStatus()
	switch {
	case ctx.Err() != nil && err != nil:
		w.done.Failed++ // it is said once
	case err != nil:
		w.done.Failed++
		if len(w.failed) < maxWarmErrors {
			w.failed = append(w.failed, fmt.Errorf("cache: warm %q: %w", line, err))
		}
	case hasParam(status, "hit"), hasParam(status, "fwd-status=304"):
		w.done.Already++
	case hasParam(status, "stored"):
		w.done.Stored++
	default:
		w.reasons.count(out.whyNot())
	}
}

// request is how nobody in particular asks for a URL.
func (w *warming) request(ctx context.Context, line string) (*http.Request, error) {
	u, err := url.Parse(line)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" || !isASCII(u.Host) || !fields.Host(u.Host) {
		return nil, errors.New("not an absolute URL of http or https, its host in ASCII")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, line, nil)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "https" {
		r.TLS = new(tls.ConnectionState)
	}
	// In the form in which a server has it.
	r.URL.Scheme, r.URL.Host, r.URL.Fragment, r.URL.RawFragment = "", "", "", ""
	if r.URL.Path == "" {
		r.URL.Path = "/"
	}
	r.RequestURI = r.URL.RequestURI()
	r.Header = w.header.Clone()
	r.RemoteAddr = nobodysAddr
	return r, nil
}

// nobodysAddr is from a network that is for documentation (RFC 5737): the machine's own
// would be let in where visitors are not, and shown what developers see.
const nobodysAddr = "192.0.2.1:1"

func (w *warming) result(ctx context.Context) (Warmed, error) {
	names, counts := w.reasons.each()
	for _, why := range names {
		if w.done.NotStored == nil {
			w.done.NotStored = make(map[string]int)
		}
		w.done.NotStored[why] = int(counts[why])
	}
	errs := w.failed
	if err := context.Cause(ctx); err != nil {
		errs = append(errs, fmt.Errorf("cache: warm: %w", err))
	} else if more := w.done.Failed - len(w.failed); more > 0 {
		errs = append(errs, fmt.Errorf("cache: warm: and %d others failed", more))
	}
	return w.done, errors.Join(errs...)
}

// discard is a ResponseWriter of which only the head is looked at.
type discard struct {
	header http.Header
	status int
}

// Header implements [http.ResponseWriter].
func (d *discard) Header() http.Header { return d.header }

// WriteHeader implements [http.ResponseWriter].
func (d *discard) WriteHeader(status int) {
	if d.status < 200 {
		d.status = status
	}
}

// Write implements [http.ResponseWriter].
func (d *discard) Write(p []byte) (int, error) {
	if d.status < 200 {
		d.status = http.StatusOK
	}
	return len(p), nil
}

// serve has a handler answer. Of a panic it makes an error, as net/http does.
func (d *discard) serve(front http.Handler, r *http.Request) (err error) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			err = errAborted
		default:
			err = fmt.Errorf("the handler panicked: %v", v)
		}
	}()
	front.ServeHTTP(d, r)
	if d.status < 200 {
		d.status = http.StatusOK
	}
	return nil
}

// cacheStatus returns what the cache that is nearest says.
func (d *discard) cacheStatus() string {
	lines := d.header["Cache-Status"]
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}

// whyNot says why the response is not stored.
func (d *discard) whyNot() string {
	if d.cacheStatus() == "" {
		return "no cache has seen it"
	}
	return strings.TrimPrefix(d.why(), ": ")
}

// why returns ": " and the detail that the cache gives, or "".
func (d *discard) why() string {
	_, detail, ok := strings.Cut(d.cacheStatus(), `; detail="`)
	if !ok {
		return ""
	}
	return ": " + strings.TrimSuffix(detail, `"`)
}

// hasParam reports whether a member of Cache-Status, as we write them, has a parameter.
func hasParam(member, name string) bool {
	member, _, _ = strings.Cut(member, `; detail="`)
	_, rest, ok := strings.Cut(member, "; "+name)
	return ok && (rest == "" || rest[0] == ';')
}
