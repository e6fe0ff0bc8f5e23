//go:build e2e

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/foretier/foretier/internal/servertest"
)

// nginxConf is nginx before a gateway's socket; it says who asks, as its configuration
// usually has it.
const nginxConf = `
daemon off;
worker_processes 1;
pid %[2]s/nginx.pid;
error_log %[2]s/nginx.log;
user root;
events { worker_connections 1024; }
http {
    access_log off;
    proxy_temp_path %[2]s/nginx-temp;
    client_body_temp_path %[2]s/nginx-body;
    upstream gateway { server unix:%[3]s; keepalive 8; }
    server {
        listen 127.0.0.1:%[1]d;
        location / {
            proxy_pass http://gateway;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For "203.0.113.9, $remote_addr";
        }
    }
}
`

// TestE2EListensAtASocket: behind nginx, which is believed who asks; whoever may not
// connect does not; another gateway takes the socket over under load, and its file goes
// with the last.
func TestE2EListensAtASocket(t *testing.T) {
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "for "+r.Header.Get("X-Forwarded-For"))
	})
	dir, err := os.MkdirTemp("", "s") // a test's own is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "gateway.sock")
	l := startLineage(t, nil, buildGateway(t), "-listen", "unix:"+socket+":0660", "-trust", "127.0.0.0/8", "-backends", backend, "-cache", "0", "-linger", "0")
	l.says(1, "msg=serving", "addr="+socket)
	if file, err := os.Stat(socket); err != nil || file.Mode().Perm() != 0o660 || file.Mode().Type() != fs.ModeSocket {
		t.Fatalf("the socket: %v, %v", file, err)
	}
	conf := filepath.Join(dir, "nginx.conf")
	port := servertest.FreePort(t)
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, port, dir, socket), 0o600); err != nil {
		t.Fatal(err)
	}
	nginx := servertest.Start(t, port, "nginx", "-e", dir+"/nginx.log", "-c", conf)
	code, body, err := get(t, "http://"+nginx.Addr+"/")
	if code != 200 || !strings.HasPrefix(body, "for 203.0.113.9") || err != nil {
		t.Errorf("got %d %q, %v", code, body, err)
	}
	l.says(1, "msg=request", "client=203.0.113.9")

	crowd := startCrowd(t, "http://"+nginx.Addr, shopPage)
	crowd.passes(t, 300)
	pid := l.takeOver(l.first.Process.Pid, 1)
	crowd.passes(t, 300)
	l.endsWell()
	crowd.passes(t, 300)
	crowd.ends(t)
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, "the socket's end", func() bool { _, err := os.Lstat(socket); return errors.Is(err, fs.ErrNotExist) })
}
