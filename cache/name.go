package cache

import (
	"hash/maphash"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
)

// nameOf returns the name of what is stored under url, which is a host, a path
// and a query to the byte: the one form of all spellings of that, by which
// invalidations name it. Nearly every URL is its own name. What is stored under
// another spelling carries its name as a tag, [nameTag].
func nameOf(url string) string {
	slash := strings.IndexByte(url, '/')
	if slash < 0 {
		return normalHost(url)
	}
	host, rest := normalHost(url[:slash]), target.Normal(url[slash:])
	if host == url[:slash] && rest == url[slash:] {
		return url
	}
	return host + rest
}

// normalHost takes off a host, in lower case, what says nothing: a final dot,
// and the port of either scheme. An invalidation means both. An address of IPv6
// has many spellings, all of them one.
func normalHost(host string) string {
	name, port := fields.SplitPort(host)
	if name = strings.TrimSuffix(name, "."); strings.HasPrefix(name, "[") {
		name = fields.Hostname(name)
	}
	if port == ":80" || port == ":443" || port == ":" {
		port = ""
	}
	if strings.HasPrefix(host, name) && len(name)+len(port) == len(host) {
		return host
	}
	return name + port
}

// seed is that of all hashes of what clients choose: they can't be foreseen, and are none
// of a tag's.
var seed = maphash.MakeSeed()

// nameTag returns the tag of what has a name that is not its URL.
func nameTag(name string) uint64 { return maphash.String(seed, name) }
