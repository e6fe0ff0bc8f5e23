//go:build e2e

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/servertest"
)

// BenchmarkBesideNginx runs the gateway and nginx in turn, one thread each on
// CPU 0, between clients and a backend on the other CPU, and prints how much
// CPU each needs for a request:
//
//	taskset -c 1 go test -tags e2e -run '^$' -bench Nginx -benchtime 1x ./examples/gateway
//
// "proxied" is a page that goes through, "hit" one from the cache, in memory
// here and in a file that the kernel holds in memory there.
func BenchmarkBesideNginx(b *testing.B) {
	servertest.Require(b, "taskset")
	nginx := servertest.Require(b, "nginx")
	dir := b.TempDir()
	program := filepath.Join(dir, "gateway")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/")) // no number: an empty page
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(bytes.Repeat([]byte("x"), size))
	}))
	defer back.Close()
	start := func(port int, argv ...string) *servertest.Server {
		return servertest.Start(b, port, append([]string{"taskset", "-c", "0", "env", "GOMAXPROCS=1"}, argv...)...)
	}
	gateway := func(size string) *servertest.Server {
		port := servertest.FreePort(b)
		return start(port, program, "-listen", "127.0.0.1:"+strconv.Itoa(port), "-backends", back.URL, "-cache", size, "-log", "off")
	}
	other := func(cached string) *servertest.Server {
		port := servertest.FreePort(b)
		home := filepath.Join(dir, strconv.Itoa(port))
		if err := os.Mkdir(home, 0o700); err != nil {
			b.Fatal(err)
		}
		conf := filepath.Join(home, "nginx.conf")
		text := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/log;
events { worker_connections 512; }
http {
	access_log off; keepalive_requests 1000000000;
	client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
	proxy_cache_path %[1]s/cache keys_zone=pages:10m use_temp_path=off;
	upstream back { server %[2]s; keepalive 64; keepalive_requests 1000000000; }
	server {
		listen 127.0.0.1:%[3]d;
		location / {
			proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
			proxy_cache %[4]s;
		}
	}
}
`, home, back.Listener.Addr(), port, cached)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		return start(port, nginx, "-c", conf)
	}
	const rounds = 5
	for _, kind := range []string{"proxied", "hit"} {
		size, cached := "0", "off"
		if kind == "hit" {
			size, cached = "64MiB", "pages"
		}
		ours, theirs := gateway(size), other(cached)
		for _, bytes := range []int{4 << 10, 20 << 10} {
			b.Run(fmt.Sprintf("%s/%dKiB", kind, bytes>>10), func(b *testing.B) {
				for b.Loop() {
					var own, other, ratios []float64
					for range rounds {
						a, x := cost(b, ours, bytes), cost(b, theirs, bytes)
						own, other, ratios = append(own, a), append(other, x), append(ratios, a/x)
					}
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(median(own), "us-CPU/request")
					b.ReportMetric(median(other), "nginx-us-CPU/request")
					b.ReportMetric(median(ratios), "x-nginx")
				}
			})
		}
	}
}

// cost returns how many microseconds of CPU a server needs for a request for
// that many bytes, 16 connections at a time.
func cost(tb testing.TB, s *servertest.Server, bytes int) float64 {
	tb.Helper()
	const lasts = 2 * time.Second
	begun, before := time.Now(), s.CPU()
	var clients sync.WaitGroup
	counts := make([]int, 16)
	for i := range counts {
		clients.Go(func() {
			c, err := net.Dial("tcp", s.Addr)
			if err != nil {
				tb.Error(err)
				return
			}
			defer c.Close()
			r := bufio.NewReader(c)
			ask := fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: shop.example\r\n\r\n", bytes)
			for time.Since(begun) < lasts {
				if _, err := io.WriteString(c, ask); err != nil {
					tb.Error(err)
					return
				}
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					tb.Error(err)
					return
				}
				if n, err := io.Copy(io.Discard, res.Body); err != nil || n != int64(bytes) || res.StatusCode != 200 {
					tb.Errorf("%d, %d bytes: %v", res.StatusCode, n, err)
					return
				}
				counts[i]++
			}
		})
	}
	clients.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64((s.CPU() - before).Microseconds()) / float64(total)
}

func median(x []float64) float64 {
	x = slices.SortedFunc(slices.Values(x), cmp.Compare)
	return x[len(x)/2]
}
