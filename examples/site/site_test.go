//go:build e2e

package site

import (
	"cmp"
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
	home      = "https://" + host      // SITE_URL of the book
	itself    = "LOCALHOST"            // to WordPress a host like any other, which it must be allowed to ask
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

	copies []string // copies what the origin has
	cron   string   // what WordPress does by itself
	first  []string // a gateway before one server
	more   []string // further flags of the two gateways
	racy   bool     // the second one is built to detect races
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
	b := openBook(t)
	s.openDatabases(b, database)
	s.pages = servertest.Redis(t, b.settings("/etc/redis/redis.conf, on 10.0.0.6")...)
	s.sessions = servertest.Redis(t, b.settings("/etc/redis/redis.conf, on 10.0.0.7")...)
	s.shared = servertest.Memcached(t)
	ports := [2]int{servertest.FreePort(t), servertest.FreePort(t)}
	s.openWeb(b, ports)
	s.openGateways(b, programs, ports)
	b.all()
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
func (s *site) openDatabases(b *book, program string) {
	t := s.t
	t.Helper()
	for i, machine := range []string{"10.0.0.31", "10.0.0.32"} {
		s.db[i] = servertest.MariaDB(t, i+1, b.settings("/etc/mysql/mariadb.conf.d/90-pair.cnf, on "+machine)...)
	}
	port := func(i int) string { _, port, _ := strings.Cut(s.db[i].Addr, ":"); return port }
	b.place = append(b.place, "10.0.0.31:3306", s.db[0].Addr, "10.0.0.32:3306", s.db[1].Addr, "master_host='10.0.0.31'", "master_host='127.0.0.1', master_port="+port(0), "10.0.0.%", "%",
		"/etc/shop/", s.dir+"/", "/var/lib/shop/", s.dir+"/")
	s.exec(0, b.statements("10.0.0.31")...)
	from, to, _ := strings.Cut(b.block("first on 10.0.0.31"), "\n") // each at its server
	as := " --user=admin --host=127.0.0.1 --port="
	for i, line := range []string{strings.Replace(from, "mariadb-dump", "mariadb-dump"+as+port(0), 1), strings.Replace(to, "mariadb", "mariadb"+as+port(1), 1)} {
		s.run("sh", "-c", "cd "+s.dir+" && "+line)
		if i == 0 {
			s.exec(0, "CREATE DATABASE since_the_dump") // which the replica finds by itself
		}
	}
	s.exec(1, b.statements("10.0.0.32")...)
	testkit.Within(t, testkit.Patience, "the replica has the site", func() bool {
		return s.ask(1, "SELECT COUNT(*) FROM mysql.user WHERE user='probe'") == "1" && s.ask(1, "SHOW DATABASES LIKE 'since%'") != ""
	})
	listen := servertest.FreePort(t)
	s.write("probe-password", "a-third\n")
	argv := append([]string{program}, b.flags("database")...)
	s.database = servertest.Start(t, listen, append(argv, "-listen", fmt.Sprintf("127.0.0.1:%d", listen))...)
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
func (s *site) openWeb(b *book, gateways [2]int) {
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
	file, authority := s.write("apache.conf", string(conf)), s.authority.File(t, filepath.Join(s.dir, "ca.pem"))
	if err := os.Chmod(authority, 0o644); err != nil {
		t.Fatal(err)
	}
	b.place = append(b.place, "10.0.0.7:6379", s.sessions.Addr, "10.0.0.6:11211", s.shared.Addr, "127.0.0.1:3306", s.database.Addr, "/etc/ssl/certs/ca-certificates.crt", authority,
		"gw1.shop.example", fmt.Sprintf("%s:%d", itself, gateways[0]), "gw2.shop.example", fmt.Sprintf("%s:%d", itself, gateways[1]))
	env := b.environment("/etc/apache2/envvars")
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
		if i == 0 {
			s.run("rsync", "-rL", "--exclude=wp-config.php", "--exclude=.htaccess", wordpress+"/", w.www+"/")
			s.run("rsync", "-r", "www/", "testdata/trial", w.www+"/")
			s.run("chown", "-R", "www-data", filepath.Join(w.www, "wp-content", "uploads"))
		}
		port := servertest.FreePort(t)
		own := map[string]string{"SITE_LISTEN": fmt.Sprintf("127.0.0.1:%d", port), "SITE_WWW": w.www, "SITE_STATE": w.state, "SITE_PHP": php[0]}
		argv := []string{"env"}
		for name, value := range env {
			argv = append(argv, name+"="+cmp.Or(own[name], value))
		}
		w.Server = servertest.Start(t, port, append(argv, "apache2", "-DFOREGROUND", "-f", file)...)
		t.Cleanup(func() {
			if t.Failed() {
				log, _ := os.ReadFile(filepath.Join(w.state, "error.log"))
				t.Logf("web%d: %s\n%s", i, w.Output(), tail(string(log), 4000))
			}
		})
		if i == 0 {
			b.place = append(b.place, "10.0.0.10:"+env["SITE_WWW"], w.www, "http://10.0.0.10", w.url())
			cron, copies := s.units(b)
			s.cron, s.copies = cron, strings.Fields(copies)
			continue
		}
		b.place = append(b.place, fmt.Sprintf("http://10.0.0.1%d", i), w.url())
		s.copy(w)
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
func (s *site) openGateways(b *book, programs [2]string, ports [2]int) {
	t := s.t
	t.Helper()
	testkit.Files(t, s.dir, "site", s.authority.Issue(t, host, itself, strings.ToLower(itself)))
	b.place = append(b.place, "10.0.0.6:6379", s.pages.Addr, "10.0.0.0/24", "127.0.0.1", "/etc/gateway/", s.dir+"/")
	s.write("backends", b.block("/etc/gateway/backends"))
	s.first = append([]string{programs[0]}, b.flags("gateway")...)
	both := append(b.flags("gateway"), s.more...)
	for i := range s.gateways {
		s.status[i] = fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
		// There is no balancer in front that has to notice that one ends.
		argv := append(append([]string{programs[i]}, both...), "-listen", fmt.Sprintf("127.0.0.1:%d", ports[i]), "-status", s.status[i], "-linger", "0", "-log-hits", "1000")
		g := servertest.Start(t, ports[i], argv...)
		s.gateways[i] = g
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("gateway %d: %s", i, tail(g.Output(), 6000))
			}
		})
	}
}

// one starts a gateway before the one server that there was, and returns where it is.
func (s *site) one() (gateway *servertest.Server) {
	s.t.Helper()
	port := servertest.FreePort(s.t)
	return servertest.Start(s.t, port, append(s.first, "-listen", fmt.Sprintf("127.0.0.1:%d", port), "-status", "", "-linger", "0")...)
}

func tail(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}
