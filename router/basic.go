package router

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/singleflight"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

const (
	basicRemember = 5 * time.Minute // for which a pair that was right is known without its hash
	basicWaiting  = 64              // pairs that wait for a processor to be hashed
	basicCost     = 14              // the most that a hash may take: a second or so
	basicSize     = 1 << 10         // bytes of an Authorization that are read

	// What one client may get wrong: ten at once, and then one in 30 s.
	basicFailures = 10
	basicRate     = 1.0 / 30
)

// BasicOptions for [NewBasic].
type BasicOptions struct {
	// Realm is what browsers show to who is asked for a password; empty means
	// "Restricted".
	Realm string
	// Users are the bcrypt hashes of their passwords by name, as [ParseHtpasswd] reads
	// them. With none nobody is let in.
	Users map[string]string
	// Header names the field in which the handlers below are told the name, such as
	// X-Remote-User, of which a client's own is removed. Empty: they are not told.
	Header string
}

// A Basic asks for a name and a password (RFC 7617), for a shop that nobody is to see
// yet, or its tools. The password travels as it is: over https alone.
//
// Hashing is dear, on purpose. So a pair that was right is remembered for 5 minutes, by a
// hash with a key of this process; pairs are hashed by half of the processors at most,
// and one client may fail ten times at once and then every 30 s, beyond which it gets 429.
// The Authorization goes no further. What is cached below is whoever's a rule without it
// lets there. Answers are made private, so that no cache in front, nor one around it, gives
// them to others. A Basic is safe for concurrent use.
type Basic struct {
	challenge string
	header    string // canonical; empty: none
	users     atomic.Pointer[basicUsers]
	key       []byte
	failures  *limiter
	flights   singleflight.Group
	places    chan struct{} // those who hash
	waiting   atomic.Int64
	known     known[struct{}] // pairs that were right
}

// NewBasic returns one.
func NewBasic(opts BasicOptions) (*Basic, error) {
	realm := opts.Realm
	if realm == "" {
		realm = "Restricted"
	}
	if strings.ContainsAny(realm, "\"\\\r\n") || len(realm) > 100 {
		return nil, fmt.Errorf("router: basic: realm %q: want a few words without quotes", realm)
	}
	if opts.Header != "" && !fields.Token(opts.Header) {
		return nil, fmt.Errorf("router: basic: %q is no name of a field: want one such as X-Remote-User", opts.Header)
	}
	b := &Basic{
		challenge: fmt.Sprintf("Basic realm=\"%s\", charset=\"UTF-8\"", realm), header: http.CanonicalHeaderKey(opts.Header),
		key: []byte(rand.Text()), failures: newLimiter("basic", Limit{Rate: basicRate, Burst: basicFailures}),
		places: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
	return b, b.Update(opts.Users)
}

// Update replaces the users. Who is no longer among them, or has another password, is
// asked again at once. On an error nothing has changed.
func (b *Basic) Update(users map[string]string) error {
	most := bcrypt.MinCost
	for name, hash := range users {
		cost, err := bcrypt.Cost([]byte(hash))
		switch {
		case name == "" || strings.ContainsAny(name, ":\r\n"):
			return fmt.Errorf("router: basic: %q is no name: want one without a colon", name)
		case err != nil:
			return fmt.Errorf("router: basic: the hash of %q is none of bcrypt: want one such as htpasswd -B makes", name)
		case cost > basicCost:
			return fmt.Errorf("router: basic: the hash of %q has a cost of %d: want %d at most, so that it is done in a second", name, cost, basicCost)
		}
		most = max(most, cost)
	}
	nobody, err := bcrypt.GenerateFromPassword([]byte(rand.Text()), most)
	if err != nil {
		return fmt.Errorf("router: basic: %w", err)
	}
	b.users.Store(&basicUsers{maps.Clone(users), nobody})
	return nil
}

// basicUsers are the hashes by name, and one for names that nobody has: to refuse them
// takes as long.
type basicUsers struct {
	hashes map[string]string
	nobody []byte
}

// ParseHtpasswd reads users from what htpasswd -B writes: a name, a colon and a hash in
// each line. Empty lines and those that begin with # are left out.
func ParseHtpasswd(text []byte) (map[string]string, error) {
	users := make(map[string]string)
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		if _, err := bcrypt.Cost([]byte(hash)); !ok || name == "" || err != nil {
			return nil, fmt.Errorf("router: htpasswd: line %d: want a name, a colon and a hash of bcrypt, as htpasswd -B writes them", n)
		}
		if _, twice := users[name]; twice {
			return nil, fmt.Errorf("router: htpasswd: line %d: %q is there twice", n, name)
		}
		users[name] = hash
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("router: htpasswd: %w", err)
	}
	return users, nil
}

// Handler is middleware for Rule.Use.
func (b *Basic) Handler(next http.Handler) http.Handler { return &basic{b, next} }

type basic struct {
	*Basic
	next http.Handler
}

var (
	errNoPassword = transit.Meant(errors.New("router: no name and password"))
	errPassword   = errors.New("router: wrong name or password")
	errGuesses    = errors.New("router: too many wrong passwords from one client")
	errHashing    = errors.New("router: too many passwords to be hashed")
)

// ServeHTTP implements [http.Handler].
func (b *basic) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, password, ok := credentials(r)
	if !ok {
		w.Header().Set("WWW-Authenticate", b.challenge)
		transit.Fail(w, r, http.StatusUnauthorized, errNoPassword)
		return
	}
	wait, err := b.verify(r.Context(), transit.Client(r), name, password)
	switch {
	case err == nil:
		out, end := b.onward(r, name)
		defer end()
		serveOwn(b.next, w, out, transit.From(out.Context()), nil)
	case errors.Is(err, errPassword):
		w.Header().Set("WWW-Authenticate", b.challenge)
		transit.Fail(w, r, http.StatusUnauthorized, err)
	case errors.Is(err, errGuesses):
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		transit.Fail(w, r, http.StatusTooManyRequests, err)
	case r.Context().Err() != nil:
		transit.Fail(w, r, transit.StatusGone, err)
	default:
		transit.Fail(w, r, http.StatusServiceUnavailable, err)
	}
}

// credentials returns the name and the password of a request with one Authorization.
func credentials(r *http.Request) (name, password string, ok bool) {
	if lines := r.Header["Authorization"]; len(lines) != 1 || len(lines[0]) > basicSize {
		return "", "", false
	}
	return r.BasicAuth()
}

// onward returns what goes on, until end is called: without the password, and with the
// name where it is wanted.
func (b *basic) onward(r *http.Request, name string) (out *http.Request, end func()) {
	if b.header == "" {
		out = new(http.Request)
		*out = *r
		out.Header = maps.Clone(r.Header)
		delete(out.Header, "Authorization")
		return out, func() {}
	}
	out, _, end = vetted(r, "Authorization", b.header)
	out.Header[b.header] = []string{name}
	return out, end
}

// verify returns nil if it is the password, at once if that is remembered. With
// errGuesses wait is when the client may try again.
func (b *Basic) verify(ctx context.Context, client netip.Addr, name, password string) (wait time.Duration, err error) {
	users := b.users.Load()
	hash, known := users.hashes[name]
	pair := b.pair(name, password, hash)
	if _, right := b.known.find(pair, time.Now()); known && right {
		return 0, nil
	}
	against := []byte(hash)
	if !known {
		against = users.nobody
	}
	// A page's images come with the same pair at once: it is hashed for all of them.
	result := b.flights.DoChan(string(pair[:])+transit.Network(client).String(), func() (any, error) {
		wait, ok := b.failures.rate(client, time.Now(), true)
		if !ok {
			return wait, errGuesses
		}
		err := b.hash(against, password)
		if err == nil && !known {
			err = errPassword
		}
		switch {
		case err == nil:
			b.known.keep(pair, struct{}{}, basicRemember, time.Now())
			b.failures.back(payer{client: transit.Network(client)})
		case errors.Is(err, errHashing):
			b.failures.back(payer{client: transit.Network(client)})
		}
		return wait, err
	})
	select {
	case res := <-result:
		return res.Val.(time.Duration), res.Err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// hash compares a password with a hash, when it is its turn.
func (b *Basic) hash(hash []byte, password string) error {
	defer b.waiting.Add(-1)
	if b.waiting.Add(1) > basicWaiting {
		return errHashing
	}
	b.places <- struct{}{}
	defer func() { <-b.places }()
	if bcrypt.CompareHashAndPassword(hash, []byte(password)) != nil {
		return errPassword
	}
	return nil
}

// pair returns what stands for a name and its password, as long as its hash is this one.
func (b *Basic) pair(name, password, hash string) (out [sha256.Size]byte) {
	mac := hmac.New(sha256.New, b.key)
	for _, part := range []string{name, password, hash} {
		fmt.Fprintf(mac, "%d:%s", len(part), part)
	}
	mac.Sum(out[:0])
	return out
}

// Wraps returns the handler below.
func (b *basic) Wraps() []http.Handler { return []http.Handler{b.next} }

// Explain implements [health.Explainer]. It hashes nothing.
func (b *basic) Explain(r *http.Request) health.Decision {
	name, _, ok := credentials(r)
	if !ok {
		return health.Decision{Part: "basic", Verdict: "401", Why: "no name and password"}
	}
	r, _ = transit.Aside(r)
	out, _ := b.onward(r, name)
	return health.Decision{Part: "basic", Verdict: "asks for the password", Why: fmt.Sprintf("of %q; what follows is for the right one", name),
		Next: []health.Decision{health.Explain(b.next, out)}}
}
