//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/servertest"
)

// apacheConf is an Apache with ten workers, as many as a small shop has.
const apacheConf = `
ServerName localhost
Listen 127.0.0.1:%[1]d
PidFile %[2]s/apache.pid
ErrorLog %[2]s/error.log
LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
User www-data
Group www-data
StartServers 10
MinSpareServers 10
MaxRequestWorkers 10
KeepAliveTimeout 5
EnableSendfile Off
SendBufferSize 16384
DocumentRoot %[2]s/htdocs
<Directory %[2]s/htdocs>
    Require all granted
</Directory>
`

// nginxConf is nginx in front of it, buffering in memory as it does by
// default, and more.
const nginxConf = `
daemon off;
worker_processes 1;
pid %[2]s/nginx.pid;
error_log %[2]s/nginx.log;
events { worker_connections 1024; }
http {
    access_log off;
    proxy_buffers 64 16k;
    proxy_buffer_size 16k;
    proxy_temp_path %[2]s/nginx-temp;
    client_body_temp_path %[2]s/nginx-body;
    server {
        listen 127.0.0.1:%[1]d;
        location / { proxy_pass http://%[3]s; }
    }
}
`

// sip asks for the big file and takes a KiB of it a second, until stop.
func sip(addr string, stop <-chan struct{}) error {
	// Small segments, as on a telephone's way: with those of loopback the
	// kernel would keep megabytes in the gateway's place.
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 536)
		}); e != nil {
			return e
		}
		return err
	}}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "GET /big HTTP/1.1\r\nHost: shop.example\r\n\r\n"); err != nil {
		return err
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for buf := make([]byte, 1<<10); ; {
		if _, err := io.ReadFull(conn, buf); err != nil {
			return err
		}
		select {
		case <-stop:
			return nil
		case <-tick.C:
		}
	}
}

// TestE2ESlowClients lets 200 clients read 500 KiB at a KiB a second from an
// Apache of ten workers, through the gateway and through nginx, and asks for
// ordinary pages beside them.
func TestE2ESlowClients(t *testing.T) {
	gateway := build(t, "../../examples/gateway")
	dir, err := os.MkdirTemp("", "e2e-slow-") // not t.TempDir: www-data must be able to enter it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	write := func(name string, content []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write("htdocs/big", bytes.Repeat([]byte("x"), 500<<10))
	write("htdocs/page", []byte("page"))
	port := servertest.FreePort(t)
	apache := servertest.Start(t, port, "apache2", "-f", write("apache.conf", fmt.Appendf(nil, apacheConf, port, dir)), "-DFOREGROUND")
	port = servertest.FreePort(t)
	ours := servertest.Start(t, port, gateway, "-listen", fmt.Sprintf("127.0.0.1:%d", port), "-backends", "http://"+apache.Addr, "-cache", "0", "-log", "off")
	port = servertest.FreePort(t)
	nginx := servertest.Start(t, port, "nginx", "-c", write("nginx.conf", fmt.Appendf(nil, nginxConf, port, dir, apache.Addr)))

	for name, addr := range map[string]string{"gateway": ours.Addr, "nginx": nginx.Addr} {
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				if err := sip(addr, stop); err != nil {
					t.Errorf("%s: a slow client: %v", name, err)
				}
			})
		}
		time.Sleep(3 * time.Second) // until all sip
		var took []time.Duration
		c := &http.Client{Timeout: 20 * time.Second}
		for range 200 {
			start := time.Now()
			if failure := ask(c, "GET", "http://"+addr+"/page"); failure != "" {
				t.Errorf("%s: %s", name, failure)
			}
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		t.Logf("%s: an ordinary page takes %v, at worst %v", name, took[len(took)/2], took[len(took)-1])
		if name == "gateway" && took[len(took)*99/100] > time.Second {
			t.Errorf("an ordinary page takes %v beside slow clients", took[len(took)*99/100])
		}
		close(stop)
		wg.Wait()
	}
}
