package php

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// maxSize is the most of a session that is read, in bytes, after decompression
// too.
const maxSize = 1 << 20

// Redis returns the source for the sessions of phpredis
// (session.save_handler=redis). prefix is what session.save_path gives as
// prefix; empty means "PHPREDIS_SESSION:". PHP on a cluster
// (save_handler=rediscluster) uses "PHPREDIS_CLUSTER_SESSION:".
func Redis(client redis.UniversalClient, prefix string) Source {
	if prefix == "" {
		prefix = "PHPREDIS_SESSION:"
	}
	return &redisSource{client, prefix}
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
	case err != nil:
		return nil, fmt.Errorf("php: %w", err)
	}
	return decompress(data, maxSize)
}
