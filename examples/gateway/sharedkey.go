package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/session/redisstore"
)

// keyName is where gateways on one store keep the key that signs their pins.
const keyName = "foretier:sticky-key"

// sharedKey returns the key that signs pins: the one in Redis or memcached,
// so that gateways believe each other's pins and their own after a restart,
// else a new one. A store that is down never keeps a gateway from serving.
func sharedKey(ctx context.Context, c config, logger *slog.Logger) []byte {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh) // never fails
	var key []byte
	var err error
	switch {
	case c.redis != "":
		key, err = redisKey(ctx, c.redis, fresh, logger)
	case len(c.memcached) > 0:
		key, err = memcachedKey(c.memcached, fresh)
	default:
		err = errors.New("neither -sticky-key-file nor -redis is given")
	}
	if err == nil && len(key) < minStickyKey {
		err = fmt.Errorf("%s holds %d bytes, want %d or more", keyName, len(key), minStickyKey)
	}
	if err != nil {
		logger.Warn("visitors lose their pins when this gateway restarts, and other gateways don't know them: "+
			"give each the same -sticky-key-file", "cause", err)
		return fresh
	}
	return key
}

func redisKey(ctx context.Context, url string, fresh []byte, logger *slog.Logger) ([]byte, error) {
	opts, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	opts.ContextTimeoutEnabled = true
	opts.MaxRetries, opts.DialerRetries = -1, 1 // the gateway starts without it
	client := redis.NewClient(opts)
	defer client.Close()
	if err := redisstore.New(client).Check(ctx); errors.Is(err, redisstore.ErrEvicts) {
		logger.Warn("give sessions a Redis of their own that evicts nothing", "cause", err)
	}
	// The first gateway's key wins. SETNX, then GET: whoever loses reads the winner's.
	if err := client.SetNX(ctx, keyName, fresh, 0).Err(); err != nil {
		return nil, err
	}
	return client.Get(ctx, keyName).Bytes()
}

func memcachedKey(servers []string, fresh []byte) ([]byte, error) {
	client := memcache.New(servers...)
	client.Timeout = time.Second
	defer client.Close()
	if err := client.Add(&memcache.Item{Key: keyName, Value: fresh}); err != nil && !errors.Is(err, memcache.ErrNotStored) {
		return nil, err
	}
	item, err := client.Get(keyName)
	if err != nil {
		return nil, err
	}
	return item.Value, nil
}
