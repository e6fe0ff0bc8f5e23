package servertest

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisCluster starts a cluster of three, and returns their addresses and a client of
// each. It ends with the test.
func RedisCluster(tb testing.TB) (addrs []string, clients []*redis.Client) {
	tb.Helper()
	const slots, nodes = 16384, 3
	var bus []int
	for range nodes {
		bus = append(bus, FreePort(tb))
		s := Redis(tb, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus[len(bus)-1]), "--cluster-node-timeout", "5000")
		c := redis.NewClient(&redis.Options{Addr: s.Addr})
		tb.Cleanup(func() { _ = c.Close() }) // which is over either way
		addrs, clients = append(addrs, s.Addr), append(clients, c)
	}
	for i, c := range clients {
		if err := c.ClusterAddSlotsRange(tb.Context(), i*slots/nodes, (i+1)*slots/nodes-1).Err(); err != nil {
			tb.Fatal(err)
		}
		host, port, _ := net.SplitHostPort(addrs[0])
		if err := c.Do(tb.Context(), "cluster", "meet", host, port, bus[0]).Err(); err != nil {
			tb.Fatal(err)
		}
	}
	for _, c := range clients {
		Until(tb, "forming a cluster", func(ctx context.Context) error {
			info, err := c.ClusterInfo(ctx).Result()
			if err == nil && (!strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:3")) {
				err = errors.New(info)
			}
			return err
		})
	}
	return addrs, clients
}

// Until waits for done, asking now and then: servers of other people's make do without
// telling.
func Until(tb testing.TB, what string, done func(ctx context.Context) error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := done(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("%s: %v", what, err)
		}
	}
}
