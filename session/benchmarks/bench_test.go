package benchmarks

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/internal/servertest"
)

// BenchmarkRequests is one visitor for each goroutine. commands/op is what
// Redis was asked for, writes/op what of it changed something.
func BenchmarkRequests(b *testing.B) {
	server := servertest.Redis(b)
	for _, path := range []string{"/plain", "/read", "/add?sku=tea"} {
		for _, s := range sides {
			b.Run(strings.Trim(path, "/")+"/"+strings.ReplaceAll(s.name, " ", ""), func(b *testing.B) {
				c := client(b, server)
				h := s.new(b, c)
				var n counter
				const visitors = 8 // for each processor
				cookies := make(chan string, visitors*runtime.GOMAXPROCS(0))
				for range cap(cookies) {
					_, cookie := do(h, "/add?sku=first", "")
					cookies <- cookie
				}
				c.AddHook(&n)
				b.ReportAllocs()
				b.SetParallelism(visitors)
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					cookie := <-cookies
					r := httptest.NewRequest("POST", "https://shop.example"+path, nil)
					r.AddCookie(&http.Cookie{Name: "__Host-sid", Value: cookie})
					for pb.Next() {
						w := httptest.NewRecorder()
						h.ServeHTTP(w, r)
						if w.Code != http.StatusOK {
							b.Errorf("%d %s", w.Code, w.Body)
						}
					}
				})
				b.ReportMetric(float64(n.all.Load())/float64(b.N), "commands/op")
				b.ReportMetric(float64(n.writes.Load())/float64(b.N), "writes/op")
			})
		}
	}
}

// A counter is a hook that counts what a client asks of Redis.
type counter struct{ all, writes atomic.Int64 }

func (c *counter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.count(cmd)
		return next(ctx, cmd)
	}
}

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			c.count(cmd)
		}
		return next(ctx, cmds)
	}
}

func (c *counter) count(cmd redis.Cmder) {
	c.all.Add(1)
	if cmd.Name() != "get" {
		c.writes.Add(1)
	}
}
