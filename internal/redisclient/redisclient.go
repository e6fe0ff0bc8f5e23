// Package redisclient has what all that stand on go-redis must know of a client that a
// user has made.
package redisclient

import "github.com/redis/go-redis/v9"

// HeedsContext reports whether a call of client's ends with its context. One that does
// not is left behind in a leash instead: see package breaker.
func HeedsContext(client redis.UniversalClient) bool {
	switch c := client.(type) {
	case *redis.Client:
		return c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		return c.Options().ContextTimeoutEnabled
	}
	return false
}
