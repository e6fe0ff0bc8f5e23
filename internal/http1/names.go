package http1

// A Name is the number of a common field's name. Whoever asks many heads for the
// same fields compares numbers. Zero is every other name.
type Name uint8

// The names that say how a message is read, and of what it is bounded by.
const (
	other Name = iota
	nameHost
	nameContentLength
	nameTransferEncoding
	nameConnection
	nameExpect
	nameUpgrade
	nameTrailer
	nameCookie
	namePragma
	nameCacheControl
	nameRest // the first of those that are only spelled here
)

// names are the common names in canonical form.
var names = append([]string{
	nameHost: "Host", nameContentLength: "Content-Length", nameTransferEncoding: "Transfer-Encoding", nameConnection: "Connection",
	nameExpect: "Expect", nameUpgrade: "Upgrade", nameTrailer: "Trailer", nameCookie: "Cookie", namePragma: "Pragma", nameCacheControl: "Cache-Control",
},
	// of requests
	"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Authorization", "Content-Encoding", "Content-Type", "Dnt", "Forwarded",
	"If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Keep-Alive", "Origin", "Priority", "Proxy-Authorization",
	"Proxy-Connection", "Range", "Referer", "Save-Data", "Sec-Ch-Ua", "Sec-Ch-Ua-Mobile", "Sec-Ch-Ua-Platform", "Sec-Fetch-Dest", "Sec-Fetch-Mode",
	"Sec-Fetch-Site", "Sec-Fetch-User", "Sec-Gpc", "Sec-Purpose", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Extensions", "Te",
	"Upgrade-Insecure-Requests", "User-Agent", "Via", "X-Csrf-Token", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto",
	"X-Real-Ip", "X-Request-Id", "X-Requested-With", "Traceparent", "Tracestate", "Baggage",
	// of responses
	"Accept-Ranges", "Access-Control-Allow-Origin", "Age", "Alt-Svc", "Cache-Tag", "Content-Disposition", "Content-Language", "Content-Location",
	"Content-Range", "Content-Security-Policy", "Date", "Etag", "Expires", "Last-Modified", "Link", "Location", "Referrer-Policy", "Retry-After",
	"Server", "Server-Timing", "Set-Cookie", "Strict-Transport-Security", "Surrogate-Key", "Vary", "Www-Authenticate", "X-Content-Type-Options",
	"X-Frame-Options", "X-Powered-By", "X-Xss-Protection",
)

// Names that a call and its answer are asked for.
var (
	nameAuthorization      = Known("Authorization")
	nameKeepAlive          = Known("Keep-Alive")
	nameProxyAuthorization = Known("Proxy-Authorization")
	nameUserAgent          = Known("User-Agent")
	nameWwwAuthenticate    = Known("Www-Authenticate")
)

// byHash finds a name by [hash], or behind it.
var byHash = func() (t [256]Name) {
	for n := other + 1; int(n) < len(names); n++ {
		i := hash(names[n])
		for t[i] != other {
			i++
		}
		t[i] = n
	}
	return t
}()

// hash is the same for a name in any case.
func hash[T string | []byte](name T) uint8 {
	n := len(name)
	return uint8(n) + 5*lower[name[0]] + 17*lower[name[n/2]] + 31*lower[name[n-1]]
}

// nameOf returns the number of a name, which is not empty.
func nameOf(name []byte) Name {
	for i := hash(name); ; i++ {
		n := byHash[i]
		if n == other || len(names[n]) == len(name) && (names[n] == string(name) || equalFold(name, names[n])) {
			return n
		}
	}
}

// Known returns the number of a field's name, in any case.
func Known(name string) Name {
	if name == "" {
		return other
	}
	return nameOf([]byte(name))
}

// String returns the name in canonical form, "" for any other.
func (n Name) String() string { return names[n] }

// lower are the bytes of tokens (RFC 9110, section 5.6.2), letters in lower case;
// all others are 0.
var lower = func() (t [256]byte) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
		t[c] = c
		if 'a' <= c && c <= 'z' {
			t[c-'a'+'A'] = c
		}
	}
	return t
}()

// equalFold reports whether two tokens of the same length are the same in any case.
func equalFold(a []byte, b string) bool {
	for i, c := range a {
		if lower[c] != lower[b[i]] {
			return false
		}
	}
	return true
}

// canonical spells a token as [http.CanonicalHeaderKey] does, in place.
func canonical(name []byte) {
	begins := true
	for i, c := range name {
		switch {
		case begins && 'a' <= c && c <= 'z', !begins && 'A' <= c && c <= 'Z':
			name[i] = c ^ 0x20
		}
		begins = c == '-'
	}
}
