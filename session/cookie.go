package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"strings"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// A ticket is what the session's cookie says: which session, and whose.
//
// In the cookie it is 32 random bytes and the second of its issue, in
// base64url, and for the session of a subject a dot and the subject's tag. The
// store knows the hash of it only, so that reading the store lets nobody in.
type ticket struct {
	id  string // 48 characters; empty: none
	tag string // 22 characters, or empty
}

const (
	idSize   = 32 + 4
	idLength = idSize * 4 / 3
	tagSize  = 16
	idHash   = sha256.Size
)

func newTicket(now time.Time, tag string) ticket {
	var b [idSize]byte
	_, _ = rand.Read(b[:32]) // never fails: crypto/rand ends the program first
	binary.BigEndian.PutUint32(b[32:], uint32(now.Unix()))
	return ticket{encoding.EncodeToString(b[:]), tag}
}

func (t ticket) String() string {
	if t.tag == "" {
		return t.id
	}
	return t.id + "." + t.tag
}

// parseTicket reads a cookie's value; ok is false for one that cannot be ours.
func parseTicket(value string) (t ticket, ok bool) {
	id, tag, tagged := strings.Cut(value, ".")
	if len(id) != idLength || !isBase64URL(id) {
		return ticket{}, false
	}
	if tagged && (len(tag) != encoding.EncodedLen(tagSize) || !isBase64URL(tag)) {
		return ticket{}, false
	}
	return ticket{id, tag}, true
}

// issued returns when the ticket was made. Anybody can forge it: it is good
// for statistics only.
func (t ticket) issued() time.Time {
	b, err := encoding.DecodeString(t.id)
	if err != nil || len(b) != idSize {
		return time.Time{}
	}
	return time.Unix(int64(binary.BigEndian.Uint32(b[32:])), 0)
}

func isBase64URL(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// key returns where the store keeps the session with this ticket. The name is
// the manager's, so that a ticket of one manager opens nothing at another
// which shares its store.
func (t ticket) key(name string) string { return sessionPrefix + digest(name, t.id, idHash) }

const sessionPrefix = "s-"

// subjectTag returns the tag of a subject: it names the subject's epoch in the
// store, and tells nobody who the subject is without guessing.
func subjectTag(name, subject string) string { return digest(name, "subject "+subject, tagSize) }

func epochKey(tag string) string { return "u-" + tag }

func digest(name, what string, size int) string {
	sum := sha256.Sum256([]byte(name + "\x00" + what))
	return encoding.EncodeToString(sum[:size])
}

// A carrier is the way in which tickets come from clients and go to them.
type carrier interface {
	// String returns what operators know it by.
	String() string
	// clean returns the header of a request without what poses as a ticket.
	clean(r *http.Request) http.Header
	// read returns the ticket that r carries; present says that it carries something
	// in its place, good or not.
	read(r *http.Request) (t ticket, present bool)
	// known reports whether r may be somebody's whose session an answer could show.
	known(r *http.Request) bool
	// overwrites reports whether a new ticket in the answer to r, which carries none,
	// could take the place of one that the client has.
	overwrites(r *http.Request) bool
	// give puts t, or that there is none any more, into the answer's header. maxAge is
	// in seconds; 0 means until the browser is closed.
	give(h http.Header, r *http.Request, t ticket, maxAge int)
}

// cookies knows the session cookie's name and attributes.
type cookies struct {
	secure, insecure string // its name on HTTPS and on plain HTTP
	allowInsecure    bool
	domain           string
	sameSite         http.SameSite
}

// name returns the cookie's name for this request, and whether it is Secure.
func (c *cookies) name(r *http.Request) (name string, secure bool) {
	if c.allowInsecure && transit.Scheme(r) != "https" {
		return c.insecure, false
	}
	return c.secure, true
}

// read returns the ticket that r carries. Two cookies of our name are none: one
// of them was planted, and nobody can tell which.
func (c *cookies) read(r *http.Request) (t ticket, present bool) {
	name, _ := c.name(r)
	value, n := fields.Cookie(r.Header, name)
	if n != 1 {
		return ticket{}, n > 0
	}
	t, _ = parseTicket(value)
	return t, true
}

// String returns the cookie's name on HTTPS.
func (c *cookies) String() string { return c.secure }

func (c *cookies) clean(r *http.Request) http.Header {
	name, _ := c.name(r)
	return withoutPosers(r.Header, name)
}

func (c *cookies) known(r *http.Request) bool { return len(r.Header["Cookie"]) > 0 }

func (c *cookies) overwrites(r *http.Request) bool {
	return c.sameSite != http.SameSiteNoneMode && crossSitePost(r, c.domain)
}

func (c *cookies) give(h http.Header, r *http.Request, t ticket, maxAge int) {
	if t.id == "" {
		maxAge = -1
	}
	name, secure := c.name(r)
	cookie := http.Cookie{
		Name: name, Value: t.String(), Path: "/", Domain: c.domain, MaxAge: maxAge,
		Secure: secure, HttpOnly: true, SameSite: c.sameSite,
	}
	h.Add("Set-Cookie", cookie.String())
}
