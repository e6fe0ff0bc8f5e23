package fields

import (
	"bytes"
	"strings"
)

// A claim is what a field of a request says that is not a client's to say.
type claim uint8

const (
	nothing  claim = iota // it goes on
	ofClient              // who the client is and what it has shown: a trusted proxy may say so
	ofTarget              // another host, scheme, port, path or method than the rules have judged, or how a server is to act: nobody may say so
)

// claimed judges a field by its canonical name. Frameworks, proxies and servers
// know hundreds of such names, and make up new ones, so that a list is never
// whole: what counts is the kind, as the words of a name tell it. A field whose
// words say nothing of the kind goes on, since most fields that nobody here has
// heard of are an application's own. It is for names that are plain.
func claimed(name string) claim {
	if found, ok := known[name]; ok {
		return found
	}
	if len(name) > longest {
		return nothing // no server looks for such a name
	}
	var buf [longest]byte
	lower := buf[:len(name)]
	for i := range lower {
		lower[i] = name[i] | 0x20 // letters, digits and hyphens only: see plain
	}
	return max(family(lower), judge(lower))
}

// longest is the length of name that is judged. The longest known to any server
// has 40 bytes.
const longest = 64

// judge puts the words of a name in lower case together. It is one table: what is
// claimed, by whom.
func judge(name []byte) claim {
	var all, last word
	n := 0
	for len(name) > 0 {
		text := name
		if i := bytes.IndexByte(name, '-'); i >= 0 {
			text, name = name[:i], name[i+1:]
		} else {
			name = nil
		}
		if len(text) == 0 || n == 0 && len(text) == 1 && text[0] == 'x' {
			continue
		}
		n++
		last = words[string(text)]
		if last == 0 && len(text) > 3 {
			last = compound(text)
		}
		all |= last
	}
	alone := n == 1
	switch {
	case all&forwarded != 0 && all&(whom|ip|address|user|certificate) == 0,
		last&host != 0, all&host != 0 && all&(former|hop|request) != 0,
		all&domain != 0 && all&(former|hop) != 0,
		last&scheme != 0 && (alone || all&(former|hop|carrier|peer|request|path) != 0),
		last&secure != 0 && (alone || all&(former|hop|carrier|request|path) != 0),
		last&port != 0 && (alone || all&(former|hop|carrier|request) != 0),
		last&path != 0 && (alone || all&(former|hop|request) != 0), all&path != 0 && all&former != 0,
		last&method != 0 && (alone || all&(former|hop|request) != 0), all&method != 0 && all&former != 0:
		return ofTarget
	case all&forwarded != 0,
		last&ip != 0, all&ip != 0 && all&(former|hop|carrier|peer|address) != 0,
		last&address != 0 && all&(former|hop|carrier|peer|request) != 0,
		last&port != 0 && all&peer != 0,
		all&user != 0 && all&proven != 0, last&user != 0 && all&former != 0,
		all&certificate != 0 && (alone || all&(former|hop|peer|secure|attribute) != 0),
		all&secure != 0:
		return ofClient
	}
	return nothing
}

// A word is what a word of a name may mean.
type word uint32

const (
	// What is claimed.
	host        word = 1 << iota
	domain           // a host, beside somebody who may have changed it
	scheme           // with what the client speaks
	secure           // TLS
	port             //
	ip               //
	address          // an IP address, beside somebody who has one
	path             //
	method           //
	user             //
	certificate      //
	whom             // "for": the client

	// By whom, or of whom.
	forwarded // a proxy speaks
	former    // what was before somebody changed it, or what it is to be changed to
	hop       // a server on the way
	carrier   // likewise, of which applications speak too
	peer      // who has connected
	request   // the request itself
	proven    // somebody who was let in

	attribute // of a certificate

	filler // says nothing, but stands between such words
)

// words are those that say something, in lower case.
var words = map[string]word{
	"host": host, "hostname": host, "vhost": host,
	"domain": domain, "authority": domain, "fqdn": domain,
	"proto": scheme, "protocol": scheme, "scheme": scheme, "https": scheme,
	"ssl": secure, "tls": secure, "mtls": secure,
	"port": port,
	"ip":   ip, "ips": ip, "ipv4": ip, "ipv6": ip, "ipaddr": ip, "ipaddress": ip,
	"addr": address, "address": address,
	"url": path, "uri": path, "path": path, "pathinfo": path,
	"method": method, "verb": method,
	"user": user, "username": user, "userid": user, "userinfo": user, "uid": user, "group": user, "groups": user, "role": user, "roles": user, "principal": user,
	"cert": certificate, "certs": certificate, "certificate": certificate, "x509": certificate | attribute, "dn": certificate, "sdn": certificate,
	"for": whom,

	"forwarded": forwarded, "forward": forwarded, "forwarder": forwarded, "forwared": forwarded, "fwd": forwarded,
	"original": former, "orig": former, "originating": former, "rewrite": former, "rewritten": former, "override": former,
	"overridden": former, "overwrite": former, "raw": former, "escaped": former, "real": former | peer, "true": former | peer, "replaced": former, "unencoded": former,
	"proxy": hop | proven, "proxied": hop, "reproxy": hop, "upstream": hop, "backend": hop, "base": hop, "invoke": hop, "matched": hop,
	"public": carrier, "origin": carrier, "internal": carrier,
	"cdn": carrier, "edge": carrier, "lb": carrier, "front": carrier, "frontend": carrier, "gateway": carrier, "external": carrier,
	"client": peer, "peer": peer, "viewer": peer, "visitor": peer, "source": peer, "src": peer, "connecting": peer, "connection": peer,
	"cluster": peer, "socket": peer, "remote": peer | proven,
	"request": request, "requested": request, "req": request, "http": request, "server": request, "script": request, "destination": request, "dest": request,
	"authenticated": proven, "auth": proven, "webauth": proven, "sso": proven, "verified": proven | attribute, "trusted": proven, "logged": proven,
	"ldap": proven, "krb": proven, "kerberos": proven, "saml": proven, "oidc": proven, "jwt": proven, "effective": proven,
	"oam": proven, "sm": proven, "iv": proven, "shib": proven, "consumer": proven,

	"subject": attribute, "issuer": attribute, "serial": attribute, "fingerprint": attribute,

	"id": filler, "name": filler, "was": filler, "x": filler,
}

// compound reads a word that is nothing but such words one behind the other, as
// in Xforwardedfor, and returns what they say together.
func compound(text []byte) word {
	if len(text) > 24 || !begins(text) {
		return 0
	}
	for i := min(len(text)-1, 13); i > 0; i-- { // the longest word has 13 bytes
		head := words[string(text[:i])]
		if head == 0 {
			continue
		}
		rest := words[string(text[i:])]
		if rest == 0 {
			rest = compound(text[i:])
		}
		if rest != 0 {
			return head | rest
		}
	}
	return 0
}

// begins reports whether one of the words may begin as text does. It spares most
// names that look.
func begins(text []byte) bool {
	return text[0] == 'x' || len(text) > 1 && beginnings[(int(text[0])<<5^int(text[1]))&1023]
}

var beginnings = func() (t [1024]bool) {
	for w := range words {
		if len(w) > 1 {
			t[(int(w[0])<<5^int(w[1]))&1023] = true
		}
	}
	return t
}()

// family judges a name in lower case by how it begins.
func family(name []byte) claim {
	rest := bytes.TrimPrefix(name, []byte("x-"))
	first := rest
	if i := bytes.IndexByte(rest, '-'); i >= 0 {
		first = rest[:i]
	}
	for _, f := range families[string(first)] {
		if len(name) >= len(f.prefix) && string(name[:len(f.prefix)]) == f.prefix {
			return f.claim
		}
	}
	return nothing
}

// families are the fields of one maker or program, all of which are for it
// alone, by how their names begin, in lower case; found by the first word but x.
var families = func() map[string][]prefixed {
	m := make(map[string][]prefixed)
	for claim, prefixes := range map[claim][]string{
		ofTarget: { // that servers obey, or compute with
			"x-original-", "x-rewrite-", "x-override-",
			"x-accel-", "x-sendfile", "x-sendfile-", "x-lighttpd-", "x-litespeed-",
			"x-middleware-", "x-invoke-", // Next.js to itself: CVE-2025-29927
			"x-arr-", "x-iis-", "iis-", "x-waws-",
		},
		ofClient: { // that a proxy with a login or a load balancer in front says
			"x-envoy-", "x-appengine-",
			"x-jwt-claim-", // of Istio
			"x-auth-request-", "x-authenticated-", "x-webauth-",
			"x-authentik-", "x-authelia-", "x-pomerium-", "x-vouch-",
			"x-shib-", "shib-", "mellon-", "oidc-claim-",
			"x-ms-client-principal", "x-goog-authenticated-", "x-goog-iap-", "x-amzn-oidc-",
			"cf-access-authenticated-", "tailscale-user-",
		},
	} {
		for _, prefix := range prefixes {
			first, _, _ := strings.Cut(strings.TrimPrefix(prefix, "x-"), "-")
			m[first] = append(m[first], prefixed{prefix, claim})
		}
	}
	return m
}()

// A prefixed is how the names of a family begin, and what they claim.
type prefixed struct {
	prefix string
	claim  claim
}

// known are the names that are judged as a whole: common ones, for speed; those
// whose words mislead; and those whose words do not tell.
var known = func() map[string]claim {
	m := make(map[string]claim)
	for claim, names := range map[claim][]string{
		nothing: {
			"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Connection", "Content-Length",
			"Content-Type", "Cookie", "Dnt", "If-Modified-Since", "If-None-Match", "Keep-Alive", "Origin", "Pragma", "Priority", "Range",
			"Referer", "Sec-Ch-Ua", "Sec-Ch-Ua-Mobile", "Sec-Ch-Ua-Platform", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site",
			"Sec-Fetch-User", "Sec-Gpc", "Purpose", "Sec-Purpose", "X-Csrf-Token", "Sec-Websocket-Key", "Sec-Websocket-Version", "Te", "Upgrade", "Upgrade-Insecure-Requests", "User-Agent", "X-Requested-With", "Via",

			"Access-Control-Request-Method", // a browser's preflight: the method that it asks about
			"X-Middleware-Prefetch",         // by which the browser's half of Next.js asks for a page ahead
			"X-Rapidapi-Host",               // names the API at a marketplace
			"X-Github-Enterprise-Host",      // of its webhooks: who calls
			"X-Goog-Authuser",               // which of the accounts that a browser is logged in to
			"Proxy-Authorization",           // hop-by-hop
		},
		ofClient: {
			"X-Request-Id", // a trusted proxy's name for the request, or the tier's
			"X-Custom-Ip-Authorization", "Cloudfront-Viewer-Address", "Client-Verify", "X-Client-Verify", "X-Client-Verified",
			"Remote-Host", "X-Remote-Host", "Remote-Name", "Remote-Email", "Remote-Ident", "X-Remote-Name", "X-Remote-Email", "Auth-Type",
			"X-Consumer-Id", "X-Consumer-Custom-Id", "X-Anonymous-Consumer", "X-Credential-Identifier", "Sm-Universalid",
			"X-Endpoint-Api-Userinfo", "X-Apigateway-Api-Userinfo", "X-Userinfo", "Eppn", "X-Eppn", "X-Subject-Dn", "X-Issuer-Dn", "X-User-Dn",
		},
		ofTarget: {
			"Expect", "Http2-Settings", // meant for this hop
			"Proxy", "Http-Proxy", "X-Http-Proxy", // HTTP_PROXY: CVE-2016-5385
			"Cf-Visitor", "X-Script-Name", "Script-Name", "X-Script-Filename", "Script-Filename", "Path-Info", "X-Path-Info",
			"Path-Translated", "Query-String", "X-Query-String", "Document-Root", "Document-Uri", "X-Server-Name", "Server-Name",
			"Redirect", "Redirect-Url", "Redirect-Uri", "Redirect-Status", "X-Virtual-Host", "X-Host-Name", "X-Is-Https", "X-Host-Header", "X-Internal-Redirect",
			"X-Now-Route-Matches", "X-Http-Status-Code-Override", "X-Https-On", "Authority", "X-Authority", "X-Fqdn", "X-Ingress-Path",
			"Foretier-Split", // which the pool says
		},
	} {
		for _, name := range names {
			m[name] = claim
		}
	}
	return m
}()
