package php

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// maxKey is the longest key that memcached takes, in bytes.
const maxKey = 250

// Memcached returns the source for the sessions of php-memcached
// (session.save_handler=memcached) with the prefix that it has by default,
// "memc.sess.key.". See [MemcachedPrefix].
func Memcached(servers ...string) (Source, error) { return MemcachedPrefix("", servers...) }

// MemcachedPrefix returns the source for the sessions of php-memcached. prefix
// is memcached.sess_prefix; empty means "memc.sess.key.", and [NoPrefix] means
// none. servers are those of session.save_path, in its order, each as
// "host:port", "host:port:weight" or the path of a socket, with the host spelled
// as there, since the spelling decides which server has which session.
//
// A session is looked for where php-memcached puts it by default, by consistent
// hashing of the type ketama, and if it is not there on all the others: another
// hash, weights, replicas or a server that failed may have put it there.
func MemcachedPrefix(prefix string, servers ...string) (Source, error) {
	prefix = prefixOr(prefix, "memc.sess.key.")
	if len(prefix) > maxKey/2 || strings.ContainsFunc(prefix, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("php: memcached prefix %q: want at most %d bytes, without blanks", prefix, maxKey/2)
	}
	ring, err := newKetama(servers)
	if err != nil {
		return nil, err
	}
	s := &several{first: ring.pick}
	for _, addr := range ring.addrs {
		client := memcache.NewFromSelector(only{addr})
		client.Timeout = time.Second
		client.MaxIdleConns = 64
		s.all = append(s.all, &memcachedSource{client, prefix})
	}
	return s, nil
}

type memcachedSource struct {
	client *memcache.Client
	prefix string
}

// Read implements [Source].
func (s *memcachedSource) Read(_ context.Context, id string) ([]byte, error) {
	key := s.prefix + id
	if len(key) > maxKey {
		return nil, fmt.Errorf("%w: an id too long for memcached", ErrEncoding)
	}
	item, err := s.client.Get(key)
	switch {
	case errors.Is(err, memcache.ErrCacheMiss):
		return nil, ErrNotFound
	case errors.Is(err, memcache.ErrMalformedKey):
		return nil, fmt.Errorf("%w: %w", ErrEncoding, err)
	case err != nil:
		return nil, fmt.Errorf("php: %w", err)
	case len(item.Value) > maxSize:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrEncoding, maxSize)
	}
	return item.Value, nil
}

// Close closes the idle connections.
func (s *memcachedSource) Close() error { return s.client.Close() }

// only is the one server of a client.
type only struct{ addr net.Addr }

// PickServer implements [memcache.ServerSelector].
func (o only) PickServer(string) (net.Addr, error) { return o.addr, nil }

// Each implements [memcache.ServerSelector].
func (o only) Each(f func(net.Addr) error) error { return f(o.addr) }

// ketama is libmemcached's ring for MEMCACHED_BEHAVIOR_KETAMA: a hundred points
// for each server, found by the hash of a session's id without its prefix.
type ketama struct {
	addrs  []net.Addr
	points []point // sorted
}

type point struct {
	hash   uint32
	server int
}

const pointsPerServer = 100

func newKetama(servers []string) (*ketama, error) {
	if len(servers) == 0 {
		return nil, errors.New("php: no memcached servers")
	}
	k := &ketama{}
	for i, server := range servers {
		host, port, err := splitServer(server)
		if err != nil {
			return nil, fmt.Errorf("php: memcached server %q: want host:port, host:port:weight or the path of a socket: %w", server, err)
		}
		addr := server
		if port != "0" {
			addr = net.JoinHostPort(host, port)
		}
		k.addrs = append(k.addrs, address(addr))
		for n := range pointsPerServer {
			k.points = append(k.points, point{oneAtATime(pointName(host, port, n)), i})
		}
	}
	slices.SortStableFunc(k.points, func(a, b point) int { return cmp.Compare(a.hash, b.hash) })
	return k, nil
}

func pointName(host, port string, n int) string {
	if port == "11211" {
		return host + "-" + strconv.Itoa(n)
	}
	return host + ":" + port + "-" + strconv.Itoa(n)
}

// pick returns which server has the session called id.
func (k *ketama) pick(id string) int {
	hash := oneAtATime(id)
	i, _ := slices.BinarySearchFunc(k.points, hash, func(p point, hash uint32) int { return cmp.Compare(p.hash, hash) })
	if i == len(k.points) {
		i = 0
	}
	return k.points[i].server
}

// splitServer takes a server of session.save_path apart. A socket has port 0.
func splitServer(server string) (host, port string, err error) {
	if strings.HasPrefix(server, "/") {
		return server, "0", nil
	}
	host, port, err = net.SplitHostPort(server)
	if err == nil {
		return host, port, nil
	}
	last := strings.LastIndexByte(server, ':')
	if last < 0 {
		return "", "", err
	}
	if weight, e := strconv.Atoi(server[last+1:]); e != nil || weight < 1 {
		return "", "", err
	}
	return net.SplitHostPort(server[:last])
}

// oneAtATime is Bob Jenkins's hash of that name, libmemcached's default.
func oneAtATime(s string) (h uint32) {
	for i := range len(s) {
		h += uint32(s[i])
		h += h << 10
		h ^= h >> 6
	}
	h += h << 3
	h ^= h >> 11
	return h + h<<15
}

// address is a server's address, resolved when it is dialed.
type address string

func (a address) String() string { return string(a) }

func (a address) Network() string {
	if strings.HasPrefix(string(a), "/") {
		return "unix"
	}
	return "tcp"
}
