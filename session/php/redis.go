package php

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/redis/go-redis/v9"
)

// maxSize is the most of a session that is read, in bytes, after decompression
// too.
const maxSize = 1 << 20

// Redis returns the source for the sessions of phpredis
// (session.save_handler=redis). prefix is what session.save_path gives as
// prefix; empty means "PHPREDIS_SESSION:", and [NoPrefix] means none
// ("prefix="). PHP on a cluster (save_handler=rediscluster) uses
// "PHPREDIS_CLUSTER_SESSION:".
func Redis(client redis.UniversalClient, prefix string) Source {
	return &redisSource{client, prefixOr(prefix, "PHPREDIS_SESSION:")}
}

func prefixOr(prefix, standard string) string {
	switch prefix {
	case "":
		return standard
	case NoPrefix:
		return ""
	}
	return prefix
}

// A RedisServer is one of several servers in session.save_path.
type RedisServer struct {
	Client redis.UniversalClient // not nil
	Prefix string                // as with [Redis]
	Weight int                   // "weight" of the server; zero means 1
}

// RedisServers returns the source for the sessions of phpredis where
// session.save_path names several servers, in its order. A session is looked
// for where phpredis would have put it, and if it is not there on all the
// others: it may have been put there when servers were fewer or more.
func RedisServers(servers ...RedisServer) (Source, error) {
	var s phpredis
	for i, server := range servers {
		switch {
		case server.Client == nil:
			return nil, fmt.Errorf("php: Redis server %d has no client", i)
		case server.Weight < 0:
			return nil, fmt.Errorf("php: Redis server %d: weight %d", i, server.Weight)
		}
		s.all = append(s.all, Redis(server.Client, server.Prefix))
		s.weights = append(s.weights, max(1, server.Weight))
		s.total += uint32(max(1, server.Weight))
	}
	if len(s.all) == 0 {
		return nil, errors.New("php: no Redis servers")
	}
	return &several{all: s.all, first: s.pick}, nil
}

// phpredis picks a server as it does: by the first four bytes of the id.
// It keeps the list of servers backwards.
type phpredis struct {
	all     []Source
	weights []int
	total   uint32
}

func (s phpredis) pick(id string) int {
	if len(id) < 4 { // no id of PHP's
		return 0
	}
	at := int(binary.LittleEndian.Uint32([]byte(id)) % s.total)
	for i := len(s.all) - 1; i > 0; i-- {
		if at -= s.weights[i]; at < 0 {
			return i
		}
	}
	return 0
}

// several is a source of several places.
type several struct {
	all   []Source
	first func(id string) int // where to look first
}

// Read implements [Source].
func (s *several) Read(ctx context.Context, id string) ([]byte, error) {
	first := s.first(id)
	data, err := s.all[first].Read(ctx, id)
	for i, source := range s.all {
		if !errors.Is(err, ErrNotFound) {
			break
		}
		if i != first {
			data, err = source.Read(ctx, id)
		}
	}
	return data, err
}

// Close closes what the places own.
func (s *several) Close() (err error) {
	for _, source := range s.all {
		if c, ok := source.(io.Closer); ok {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}

type redisSource struct {
	client redis.UniversalClient
	prefix string
}

// Read implements [Source].
func (s *redisSource) Read(ctx context.Context, id string) ([]byte, error) {
	// No more than maxSize is fetched; an absent session is an empty one.
	data, err := s.client.GetRange(ctx, s.prefix+id, 0, maxSize).Bytes()
	switch {
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return nil, fmt.Errorf("%w: %w", ErrEncoding, err)
	case err != nil:
		return nil, fmt.Errorf("php: %w", err)
	case len(data) == 0:
		return nil, ErrNotFound
	case len(data) > maxSize:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrEncoding, maxSize)
	}
	return data, nil
}

// Magento returns the source for the sessions of Magento and others that use
// Cm_RedisSession: hashes, whose data may be compressed by gzip, LZF, LZ4 or
// Snappy.
func Magento(client redis.UniversalClient) Source { return &magentoSource{client} }

type magentoSource struct{ client redis.UniversalClient }

// Read implements [Source].
func (s *magentoSource) Read(ctx context.Context, id string) ([]byte, error) {
	data, err := s.client.HGet(ctx, "sess_"+id, "data").Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, ErrNotFound
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return nil, fmt.Errorf("%w: %w", ErrEncoding, err)
	case err != nil:
		return nil, fmt.Errorf("php: %w", err)
	}
	return decompress(data, maxSize)
}
