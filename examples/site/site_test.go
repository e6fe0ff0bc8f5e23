//go:build e2e

package site

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

const (
	host      = "shop.example"
	home      = "https://" + host
	password  = "the database's"
	wordpress = "/usr/share/wordpress" // of Debian's package, without a configuration
	copies    = 2 * time.Second        // pass between two runs of rsync, so that servers lag
)

// A site is all of it, on loopback ports: web[0] is the origin, db[0] the primary.
type site struct {
	t         *testing.T
	dir       string
	web       [3]*webserver
	gateways  [2]*servertest.Server
	status    [2]string // where each gateway's page is
	db        [2]*servertest.Server
	database  *servertest.Server // between PHP and these
	pages     *servertest.Server // Redis of the gateways
	sessions  *servertest.Server // Redis of PHP
	shared    *servertest.Server // memcached of WordPress
	authority *testkit.Authority
	gatewayIn []string // the gateway's flags, but for what differs
	more      []string // further ones
	racy      bool     // the second gateway is built to detect races
}

// A webserver is one Apache with a WordPress of its own.
type webserver struct {
	*servertest.Server
	www, state string
	mounted    bool         // state is a disk of its own
	copying    sync.Mutex   // held while rsync writes to it, or must not
	full       atomic.Bool  // there is no room
	refused    atomic.Int64 // how often rsync found none
}

func (w *webserver) url() string { return "http://" + w.Addr }

// open installs the site, and starts all of it until the test ends.
func open(t *testing.T) *site {
	t.Helper()
	s := &site{t: t}
	s.open()
	return s
}

func (s *site) open() {
	t := s.t
	t.Helper()
	if _, err := os.Stat(wordpress); err != nil && os.Getenv("CI") == "" {
		t.Skip("WordPress is not installed: make install-e2e")
	}
	// Not t.TempDir: www-data must be able to enter it.
	dir, err := os.MkdirTemp("", "e2e-site-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s.dir, s.authority = dir, testkit.NewAuthority(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	gateway, database := s.build("gateway"), s.build("database")
	programs := [2]string{gateway, gateway}
	if s.racy {
		programs[1] = s.build("gateway", "-race")
	}
	s.openDatabases(database)
	s.pages = servertest.Redis(t, "--maxmemory", "64mb", "--maxmemory-policy", "volatile-lru")
	s.sessions = servertest.Redis(t)
	s.shared = servertest.Memcached(t)
	ports := [2]int{servertest.FreePort(t), servertest.FreePort(t)}
	s.openWeb(ports)
	s.openGateways(programs, ports)
}

// build returns a program of the examples.
func (s *site) build(name string, flags ...string) string {
	s.t.Helper()
	file := filepath.Join(s.dir, name+strings.Join(flags, ""))
	s.run(append(append([]string{"go", "build", "-o", file}, flags...), "../"+name)...)
	return file
}

func (s *site) run(argv ...string) {
	s.t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
}

func (s *site) write(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// openDatabases starts MariaDB with a replica, which has whatever is acknowledged, and
// the program that follows the primary.
func (s *site) openDatabases(program string) {
	t := s.t
	t.Helper()
	semi := []string{"--gtid-strict-mode=1", "--rpl-semi-sync-master-timeout=60000", "--rpl-semi-sync-master-wait-point=AFTER_SYNC", "--rpl-semi-sync-slave-enabled=1"}
	s.db[0] = servertest.MariaDB(t, 1, append(semi, "--rpl-semi-sync-master-enabled=1")...)
	s.db[1] = servertest.MariaDB(t, 2, append(semi, "--read-only=1")...)
	_, port, _ := strings.Cut(s.db[0].Addr, ":")
	s.exec(1, "CHANGE MASTER TO master_host='127.0.0.1', master_port="+port+", master_user='admin', master_use_gtid=slave_pos", "START REPLICA")
	s.exec(0,
		"CREATE DATABASE site", "CREATE USER site@'%' IDENTIFIED BY '"+strings.ReplaceAll(password, "'", "''")+"'", "GRANT ALL ON site.* TO site@'%'",
		"CREATE USER probe@'%' IDENTIFIED BY 'hush'", "GRANT REPLICA MONITOR ON *.* TO probe@'%'")
	testkit.Within(t, testkit.Patience, "the replica has the site", func() bool { return s.ask(1, "SELECT COUNT(*) FROM mysql.user WHERE user='probe'") == "1" })
	listen := servertest.FreePort(t)
	s.database = servertest.Start(t, listen, program, "-kind", "mysql", "-listen", fmt.Sprintf("127.0.0.1:%d", listen),
		"-backends", "tcp://"+s.db[0].Addr+",tcp://"+s.db[1].Addr, "-user", "probe", "-password-file", s.write("probe-password", "hush\n"),
		"-memory", filepath.Join(s.dir, "primary"))
}

// connect returns the database of this number.
func (s *site) connect(n int) *sql.DB {
	s.t.Helper()
	db, err := sql.Open("mysql", "admin@tcp("+s.db[n].Addr+")/")
	if err != nil {
		s.t.Fatal(err)
	}
	return db
}

func (s *site) exec(n int, statements ...string) {
	s.t.Helper()
	db := s.connect(n)
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			s.t.Fatalf("%s: %v", statement, err)
		}
	}
}

// ask returns what a query finds, in a row of one column, or "".
func (s *site) ask(n int, query string) (found string) {
	s.t.Helper()
	db := s.connect(n)
	defer db.Close()
	_ = db.QueryRow(query).Scan(&found) // what is not there is ""
	return found
}

// openWeb starts the Apaches. What is in this package's folders is what an operator copies.
func (s *site) openWeb(gateways [2]int) {
	t := s.t
	t.Helper()
	php, err := filepath.Glob("/usr/lib/apache2/modules/libphp*.so")
	if err != nil || len(php) == 0 {
		t.Fatalf("no mod_php is installed: make install-e2e (%v)", err)
	}
	conf, err := os.ReadFile("etc/apache.conf")
	if err != nil {
		t.Fatal(err)
	}
	file := s.write("apache.conf", string(conf))
	for i := range s.web {
		at := filepath.Join(s.dir, fmt.Sprintf("web%d", i))
		w := &webserver{www: filepath.Join(at, "www"), state: at}
		if err := os.Mkdir(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if i == len(s.web)-1 {
			w.ownDisk(t)
		}
		if err := os.MkdirAll(filepath.Join(w.www, "wp-content", "uploads"), 0o755); err != nil {
			t.Fatal(err)
		}
		s.web[i] = w
		if i > 0 {
			s.copy(w)
		} else {
			s.run("rsync", "-rL", "--exclude=wp-config.php", "--exclude=.htaccess", wordpress+"/", w.www+"/")
			s.run("rsync", "-r", "www/", "testdata/trial", w.www+"/")
			s.run("chown", "-R", "www-data", filepath.Join(w.www, "wp-content", "uploads"))
		}
		port := servertest.FreePort(t)
		w.Server = servertest.Start(t, port, "env", "SITE_LISTEN=127.0.0.1:"+fmt.Sprint(port), "SITE_WWW="+w.www, "SITE_STATE="+w.state, "SITE_PHP="+php[0],
			"SITE_DATABASE="+s.database.Addr, "SITE_DATABASE_PASSWORD="+password, "SITE_URL="+home, "SITE_CA="+s.authority.File(t, filepath.Join(s.dir, "ca.pem")),
			"SITE_GATEWAYS="+fmt.Sprintf("localhost:%d,localhost:%d", gateways[0], gateways[1]),
			"SITE_MEMCACHED="+s.shared.Addr, "SITE_SESSIONS=tcp://"+s.sessions.Addr+"?timeout=1&read_timeout=2&prefix=PHPSESSION:",
			"apache2", "-DFOREGROUND", "-f", file)
		t.Cleanup(func() {
			if t.Failed() {
				log, _ := os.ReadFile(filepath.Join(w.state, "error.log"))
				t.Logf("web%d: %s\n%s", i, w.Output(), tail(string(log), 4000))
			}
		})
	}
	if err := os.Chmod(filepath.Join(s.dir, "ca.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.keepCopying()
}

// keepCopying runs rsync every two seconds, until the test ends.
func (s *site) keepCopying() {
	done := make(chan struct{})
	var running sync.WaitGroup
	s.t.Cleanup(func() { close(done); running.Wait() })
	running.Go(func() {
		for tick := time.NewTicker(copies); ; {
			select {
			case <-done:
				tick.Stop()
				return
			case <-tick.C:
				for _, w := range s.web[1:] {
					s.copy(w)
				}
			}
		}
	})
}

// openGateways starts two of them, which know one another by Redis.
func (s *site) openGateways(programs [2]string, ports [2]int) {
	t := s.t
	t.Helper()
	cert, key := testkit.Files(t, s.dir, "site", s.authority.Issue(t, host, "localhost"))
	s.gatewayIn = append([]string{"-shop", "wordpress", "-origin", s.web[0].url(), "-backends", "@" + s.write("backends", s.web[1].url()+"\n"+s.web[2].url()+"\n"),
		"-tls-cert", cert, "-tls-key", key, "-purge-from", "127.0.0.1", "-redis-cache", "redis://" + s.pages.Addr, "-cache-ttl", "60s", "-linger", "0",
		"-probe", "/health.php", "-probe-host", host, "-max-requests", "24", "-log-hits", "1000"}, s.more...)
	for i := range s.gateways {
		s.status[i] = fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
		argv := append(append([]string{programs[i]}, s.gatewayIn...), "-listen", fmt.Sprintf("127.0.0.1:%d", ports[i]), "-status", s.status[i])
		g := servertest.Start(t, ports[i], argv...)
		s.gateways[i] = g
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("gateway %d: %s", i, tail(g.Output(), 6000))
			}
		})
	}
}

func tail(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}
