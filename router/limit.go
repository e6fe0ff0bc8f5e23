package router

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/fair"
	"github.com/foretier/foretier/internal/given"
	"github.com/foretier/foretier/internal/transit"
)

// A Limit bounds what a rule's clients may ask for; beyond, they get 429 and a
// Retry-After. The zero Limit bounds nothing.
//
// It judges what the rule takes, before Use and To: answers that a cache below has stored
// count as well. A [Limiter] is one that stands where it is put, and may be one of several.
//
// Answers say what is left of a Rate, in RateLimit and RateLimit-Policy
// (draft-ietf-httpapi-ratelimit-headers-10): of Burst requests that an account has at most,
// r may be sent now, and all after t seconds without any.
type Limit struct {
	// Rate is how many requests a second one client may send for long. A client
	// is an IPv4 address or an IPv6 /64; all those of an IPv6 /48, of which one
	// customer may have all, may send as much as 32. Zero means no limit; the
	// least is one a day.
	Rate float64
	// Burst is how many it may send at once. Zero means a second's worth, but
	// at least 1.
	Burst int
	// By says who else than a client has an account of Rate and Burst, such as who shows
	// an API key: see [ByHeader], [ByCookie] and [ByFunc]. What it names may be long and
	// secret: only a hash is kept. All that one client sends, under whatever names, may
	// be as much as 32 accounts may send, so that made-up names are of little use. Nil
	// means the client, and so do requests that have no such name.
	By LimitBy
	// Store has the accounts that this gateway shares with others: what one gateway has
	// let through counts at all. See [github.com/foretier/foretier/router/redislimit]. It is asked
	// once for each request that this gateway's own account, which is kept besides, lets
	// through; while it does not answer that one counts alone, so that each gateway allows
	// the whole Rate. What a /48, or a client under several names, may send is counted by
	// each gateway for itself. Nil means that nothing is shared.
	Store LimitStore
	// InFlight is how many requests the rule serves at once, of all clients:
	// its share of a pool's slots. One client may hold seven times as many as
	// are left free: alone all but an eighth, and of fewer than eight all. A
	// connection that is upgraded and an answer of text/event-stream leave it,
	// unless the rule has Streams. Zero means no limit. By and Store are not for it.
	//
	// While a pool below waits for a request's body, the request holds none,
	// and gets 429 if there is none once the body is there. A body that goes on
	// to its backend as it comes (see balancer.Spool) is counted before: a
	// quarter of all may be of such requests, and half of that of each client's,
	// but one at least, unless there is only one.
	InFlight int
}

// A LimitStore keeps accounts for several gateways. It is safe for concurrent use.
type LimitStore interface {
	// Take puts one request more on an account, of which burst may be sent at once and
	// one each time every has passed, unless that would be too many. It returns how long
	// the client must wait, 0 if the request is on the account, and how many more may be
	// sent now. The account's name is a hash, of letters and digits. It returns within a
	// short while, or soon after ctx has ended; on an error nobody knows what has become
	// of the account.
	Take(ctx context.Context, account string, every time.Duration, burst int) (wait time.Duration, left int, err error)
}

func (l Limit) check() error {
	if l.Rate < 0 || math.IsNaN(l.Rate) || math.IsInf(l.Rate, 0) || l.Burst < 0 || l.InFlight < 0 {
		return fmt.Errorf("Limit: Rate %g, Burst %d, InFlight %d: want nothing negative", l.Rate, l.Burst, l.InFlight)
	}
	if l.Rate > 0 && l.Rate < minRate {
		return fmt.Errorf("Limit: a Rate of %g requests a second: want %g, one a day, or more", l.Rate, minRate)
	}
	switch {
	case l.Burst > 0 && l.Rate == 0:
		return errors.New("Limit: a Burst without a Rate")
	case (l.By != nil || l.Store != nil) && l.Rate == 0:
		return errors.New("Limit: a By or a Store without a Rate")
	case given.Typed(l.By) || given.Typed(l.Store):
		return errors.New("Limit: By or Store holds a nil pointer: the constructor that returned it has failed")
	case l.Store != nil && !reflect.ValueOf(l.Store).Comparable():
		return fmt.Errorf("Limit: a Store of type %T: want a pointer, so that it can be told from others", l.Store)
	case l.By != nil:
		if err := l.By.check(); err != nil {
			return fmt.Errorf("Limit: %w", err)
		}
	}
	return nil
}

// minRate is one request a day: times between two must be times.
const minRate = 1.0 / (24 * 60 * 60)

// siteShare is what all clients of an IPv6 /48, and one client under all names that a
// LimitBy tells apart, may send, in shares of one.
const siteShare = 32

// A limiter applies a Limit. Addresses of IPv4, those of IPv6 and names have accounts
// apart: who has very many of one kind takes no room from the others.
type limiter struct {
	Limit
	name    string
	every   time.Duration // between two requests at Rate
	says    limitFields
	by      string  // what By says of itself, empty without
	places  *places // nil without InFlight
	limited atomic.Uint64

	mu      sync.Mutex
	v4      accounts[netip.Addr]  // guarded by mu: by address
	v6      accounts[netip.Addr]  // guarded by mu: by /64
	sites   accounts[netip.Addr]  // guarded by mu: by /48
	names   accounts[accountName] // guarded by mu: by what By names
	bearers accounts[netip.Addr]  // guarded by mu: of names, by client
}

// newLimiter returns what applies l, which is checked, by the name of its rule; nil for
// the zero Limit.
func newLimiter(name string, l Limit) *limiter {
	if l == (Limit{}) {
		return nil
	}
	l.Burst = cmp.Or(l.Burst, max(1, int(l.Rate)))
	lim := &limiter{Limit: l, name: name}
	if l.InFlight > 0 {
		lim.places = &places{limit: l.InFlight}
	}
	if l.Rate > 0 {
		lim.every = time.Duration(float64(time.Second) / l.Rate)
		lim.says = fieldsOf(name, l.Burst, lim.every)
	}
	lim.v4.init(lim.every, l.Burst)
	lim.v6.init(lim.every, l.Burst)
	lim.sites.init(lim.every/siteShare, l.Burst*siteShare)
	if l.By != nil {
		lim.by = l.By.String()
		lim.names.init(lim.every, l.Burst)
		lim.bearers.init(lim.every/siteShare, l.Burst*siteShare)
	}
	return lim
}

// A verdict is what a limiter makes of a request.
type verdict struct {
	turn *turn         // which must be left once the request has been served; nil without InFlight
	wait time.Duration // until it may be ok
	left int32         // how many more may be sent now, if Rate was asked; or more
	by   bool          // it was
	ok   bool
}

// enter asks for one request more.
func (l *limiter) enter(r *http.Request, now time.Time) verdict {
	client := transit.Client(r)
	var t *turn
	if l.places != nil {
		if t = l.places.enter(client, &l.limited); t == nil {
			l.limited.Add(1)
			return verdict{wait: time.Second}
		}
	}
	v := l.take(r, client, now)
	if v.ok {
		v.turn = t
		return v
	}
	if t != nil {
		t.leave()
	}
	l.limited.Add(1)
	return v
}

// allows tells what enter would answer, and counts nothing: of accounts that are shared
// it tells what this gateway knows.
func (l *limiter) allows(r *http.Request, now time.Time) verdict {
	client := transit.Client(r)
	if l.places != nil && !l.places.free(fair.Of(client)) {
		return verdict{wait: time.Second}
	}
	if l.Rate == 0 {
		return verdict{ok: true}
	}
	return l.judge(l.payer(r, client), now, false)
}

// take puts one request more on its accounts. What this gateway alone has counted too
// much of is too much for all: nobody else is asked then.
func (l *limiter) take(r *http.Request, client netip.Addr, now time.Time) verdict {
	if l.Rate == 0 {
		return verdict{ok: true}
	}
	p := l.payer(r, client)
	v := l.judge(p, now, true)
	if !v.ok || l.Store == nil {
		return v
	}
	wait, left, err := l.Store.Take(r.Context(), l.shared(p), l.every, l.Burst)
	switch {
	case err != nil: // which the store tells its operator
	case wait > 0:
		l.back(p)
		return verdict{wait: wait, by: true}
	default:
		v.left = int32(max(0, min(int(v.left), left)))
	}
	return v
}

// rate reports whether Rate lets one request more of a client's through, and if so
// and count is set puts it on the client's account.
func (l *limiter) rate(client netip.Addr, now time.Time, count bool) (wait time.Duration, ok bool) {
	if l.Rate == 0 {
		return 0, true
	}
	v := l.judge(payer{client: transit.Network(client)}, now, count)
	return v.wait, v.ok
}

// judge says what this gateway's own accounts allow, and counts if they do and count is
// set.
func (l *limiter) judge(p payer, now time.Time, count bool) verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait, s := l.askLocked(p, now)
	if wait > 0 {
		return verdict{wait: wait, by: true}
	}
	if count {
		l.addLocked(s, now)
	}
	return verdict{ok: true, left: int32(min(-wait/l.every, math.MaxInt32)), by: true}
}

// A payer is whose account a request is on.
type payer struct {
	client netip.Addr  // the network that counts as one
	name   accountName // the zero one: none
}

// An accountName is a hash of what a LimitBy has named.
type accountName [16]byte

// payer returns whose account r, of a client's, is on.
func (l *limiter) payer(r *http.Request, client netip.Addr) payer {
	p := payer{client: transit.Network(client)}
	if l.By != nil {
		if name := l.By.of(r); name != "" {
			p.name = l.hash(l.by, name)
		}
	}
	return p
}

// hash returns what stands for a name of a kind under this limit, at every gateway.
func (l *limiter) hash(kind, name string) accountName {
	sum := sha256.Sum256([]byte(l.name + "\x00" + kind + "\x00" + name))
	return accountName(sum[:])
}

// shared returns what an account is called at the Store.
func (l *limiter) shared(p payer) string {
	if p.name == (accountName{}) {
		p.name = l.hash("client", p.client.String())
	}
	return hex.EncodeToString(p.name[:])
}

// A sum is what a payer, and all of whom it is one, have on their accounts.
type sum struct {
	payer
	site         netip.Addr
	due, wideDue account
}

// askLocked returns how long one must wait at now, less than 0 for how long more might
// have come before, and its accounts.
func (l *limiter) askLocked(p payer, now time.Time) (wait time.Duration, s sum) {
	s.payer = p
	var wide time.Duration
	switch {
	case p.name != accountName{}:
		wide, s.wideDue = l.bearers.ask(p.client, now)
		wait, s.due = l.names.ask(p.name, now)
	case p.client.Is6():
		s.site = siteOf(p.client)
		wide, s.wideDue = l.sites.ask(s.site, now)
		wait, s.due = l.v6.ask(p.client, now)
	default:
		wait, s.due = l.v4.ask(p.client, now)
		return wait, s
	}
	return max(wait, wide), s
}

// addLocked counts one request more.
func (l *limiter) addLocked(s sum, now time.Time) {
	switch {
	case s.name != accountName{}:
		l.bearers.add(s.client, s.wideDue, now)
		l.names.add(s.name, s.due, now)
	case s.client.Is6():
		l.sites.add(s.site, s.wideDue, now)
		l.v6.add(s.client, s.due, now)
	default:
		l.v4.add(s.client, s.due, now)
	}
}

// back takes off the accounts what was counted and is not to count.
func (l *limiter) back(p payer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case p.name != accountName{}:
		l.bearers.back(p.client)
		l.names.back(p.name)
	case p.client.Is6():
		l.sites.back(siteOf(p.client))
		l.v6.back(p.client)
	default:
		l.v4.back(p.client)
	}
}

// siteOf returns the /48 of an IPv6 address.
func siteOf(client netip.Addr) netip.Addr {
	p, _ := client.Prefix(48) // an IPv6 address has 48 bits
	return p.Addr()
}
