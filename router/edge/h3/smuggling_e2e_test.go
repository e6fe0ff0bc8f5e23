//go:build e2e

package h3_test

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/internal/servertest"
)

// whole has bodies read to their ends before the server, which has one place only, is
// asked. One that is still coming may go on as it comes, see [balancer.Spool], and if the
// rest is malformed, or does not come, the connection to the server ends with it: which
// PHP and nginx take for the end of a body.
var whole = balancer.Limits{InFlight: 1}

// A ledger is what a server writes of its requests, a line each: method, target, host and
// body, and the status, in a list of JSON. Whatever is no request has a line there, too.
type ledger struct {
	t      *testing.T
	file   string
	server *servertest.Server
	json   func(line string) []byte
}

func (l *ledger) take() (got, noise []string) {
	l.server.Kill() // all that it will have got it has
	f, err := os.Open(l.file)
	if err != nil {
		l.t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var col [5]string
		err := json.Unmarshal(l.json(lines.Text()), &col)
		switch {
		case err == nil && col[4] == "200":
			got = append(got, fmt.Sprintf("%s %s %s %q", col[0], col[1], col[2], col[3]))
		case err == nil && col[4] == "499" && col[0] == "POST" && col[3] == "":
			// nginx says that its client left before the body was whole: nobody has seen it.
		default:
			noise = append(noise, lines.Text())
		}
	}
	if err := lines.Err(); err != nil {
		l.t.Fatal(err)
	}
	return got, noise
}

// TestE2EOneRequestInAtMostOneOutOfApache has Apache and PHP behind, as Debian has them.
func TestE2EOneRequestInAtMostOneOutOfApache(t *testing.T) {
	// Apache's own line tells of what PHP never sees.
	const conf = `ServerName localhost
Listen 127.0.0.1:%d
PidFile %[2]s/pid
ErrorLog %[2]s/error.log
LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
LoadModule php_module %[3]s
User www-data
Group www-data
TypesConfig /etc/mime.types
DocumentRoot %[2]s/www
<Directory %[2]s/www>
    Require all granted
</Directory>
AliasMatch "^" %[2]s/www/clerk.php
<FilesMatch "\.php$">
    SetHandler application/x-httpd-php
</FilesMatch>
php_admin_flag enable_post_data_reading Off
LogFormat "%%>s %%{clerk}n" clerk
CustomLog %[2]s/ledger clerk
`
	const clerk = `<?php
$body = file_get_contents('php://input');
$text = "$_SERVER[REQUEST_METHOD] $_SERVER[REQUEST_URI] $_SERVER[HTTP_HOST]";
apache_note('clerk', bin2hex(json_encode([$_SERVER['REQUEST_METHOD'], $_SERVER['REQUEST_URI'], $_SERVER['HTTP_HOST'], $body, '200'])));
echo $text, ' ', $body;
`
	php, err := filepath.Glob("/usr/lib/apache2/modules/libphp*.so")
	if err != nil || len(php) == 0 {
		servertest.Require(t, "mod_php for Apache")
	}
	dir := serverDir(t)
	if err := os.Mkdir(filepath.Join(dir, "www"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "www", "clerk.php"), clerk)
	port := servertest.FreePort(t)
	file := writeFile(t, filepath.Join(dir, "apache.conf"), fmt.Sprintf(conf, port, dir, php[0]))
	s := servertest.Start(t, port, "apache2", "-DFOREGROUND", "-f", file)
	smuggle(t, "http://"+s.Addr, whole, &ledger{t, filepath.Join(dir, "ledger"), s, func(line string) []byte {
		text, _ := hex.DecodeString(strings.TrimPrefix(line, "200 ")) // what is none is noise
		return text
	}})
}

// TestE2EOneRequestInAtMostOneOutOfNginx has nginx behind, which has another behind it:
// only what it sends on it writes down with its body.
func TestE2EOneRequestInAtMostOneOutOfNginx(t *testing.T) {
	const conf = `worker_processes 1;
daemon off;
error_log %[1]s/error.log;
pid %[1]s/pid;
events {}
http {
    log_format clerk escape=json '["$request_method","$request_uri","$http_host","$request_body","$status"]';
    client_body_temp_path %[1]s/body;
    proxy_temp_path %[1]s/proxy;
    fastcgi_temp_path %[1]s/fastcgi;
    uwsgi_temp_path %[1]s/uwsgi;
    scgi_temp_path %[1]s/scgi;
    access_log off;
    server {
        listen 127.0.0.1:%[2]d;
        access_log %[1]s/ledger clerk;
        location / {
            proxy_pass http://127.0.0.1:%[3]d;
            proxy_set_header Host $http_host;
        }
    }
    server {
        listen 127.0.0.1:%[3]d;
        location / { return 200 "$request_method $request_uri $http_host"; }
    }
}
`
	dir := serverDir(t)
	port, behind := servertest.FreePort(t), servertest.FreePort(t)
	file := writeFile(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(conf, dir, port, behind))
	s := servertest.Start(t, port, "nginx", "-e", filepath.Join(dir, "error.log"), "-c", file)
	smuggle(t, "http://"+s.Addr, whole, &ledger{t, filepath.Join(dir, "ledger"), s, func(line string) []byte { return []byte(line) }})
}

// serverDir returns a folder that a server may enter who is not root.
func serverDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e-smuggling-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
