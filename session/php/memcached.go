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

// memcachedPrefix is memcached.sess_prefix as it is unless configured.
const memcachedPrefix = "memc.sess.key."

// Memcached returns the source for the sessions of php-memcached
// (session.save_handler=memcached) as it is configured by default: with
// consistent hashing of the type ketama and the prefix "memc.sess.key.".
// servers are those of session.save_path, in its order, each as "host:port"
// with the host spelled as there, since the spelling decides which server has
// which session.
func Memcached(servers ...string) (Source, error) {
	ring, err := newKetama(servers)
	if err != nil {
		return nil, err
	}
	client := memcache.NewFromSelector(ring)
	client.Timeout = time.Second
	client.MaxIdleConns = 64
	return &memcachedSource{client}, nil
}

type memcachedSource struct{ client *memcache.Client }

// Read implements [Source].
func (s *memcachedSource) Read(_ context.Context, id string) ([]byte, error) {
	item, err := s.client.Get(memcachedPrefix + id)
	switch {
	case errors.Is(err, memcache.ErrCacheMiss):
		return nil, ErrNotFound
	case err != nil:
		return nil, fmt.Errorf("php: %w", err)
	case len(item.Value) > maxSize:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrEncoding, maxSize)
	}
	return item.Value, nil
}

// Close closes the idle connections.
func (s *memcachedSource) Close() error { return s.client.Close() }

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
		host, port, err := net.SplitHostPort(server)
		if err != nil {
			return nil, fmt.Errorf("php: memcached server %q: want host:port: %w", server, err)
		}
		k.addrs = append(k.addrs, address(server))
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

// PickServer implements [memcache.ServerSelector].
func (k *ketama) PickServer(key string) (net.Addr, error) {
	hash := oneAtATime(strings.TrimPrefix(key, memcachedPrefix))
	i, _ := slices.BinarySearchFunc(k.points, hash, func(p point, hash uint32) int { return cmp.Compare(p.hash, hash) })
	if i == len(k.points) {
		i = 0
	}
	return k.addrs[k.points[i].server], nil
}

// Each implements [memcache.ServerSelector].
func (k *ketama) Each(f func(net.Addr) error) error {
	for _, a := range k.addrs {
		if err := f(a); err != nil {
			return err
		}
	}
	return nil
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

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }
