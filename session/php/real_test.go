package php_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/session/php"
)

// run runs code in PHP with the given ini settings and returns what it prints.
func run(t *testing.T, ini map[string]string, code string) string {
	t.Helper()
	args := []string{"-d", "display_errors=stderr", "-d", "session.use_cookies=0", "-d", "session.use_strict_mode=0", "-d", "session.cache_limiter="}
	for k, v := range ini {
		args = append(args, "-d", k+"="+v)
	}
	cmd := exec.Command(servertest.Require(t, "php"), append(args, "-r", code)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("php: %v\n%s%s", err, out, &stderr)
	}
	return string(out)
}

// everything is a session with all that PHP can put into one.
const everything = `
	enum Suit: string { case Hearts = "H"; }
	class Customer { public $id = 7; protected $group = "b2b"; private $secret = ["a" => 1.5]; public ?Customer $parent = null; }
	class Own implements Serializable {
		function serialize() { return "a;}b"; } function unserialize($s) {}
		function __serialize(): array { return ["x" => 1]; } function __unserialize(array $a): void {}
	}
	$_SESSION["null"] = null; $_SESSION["yes"] = true; $_SESSION["no"] = false;
	$_SESSION["int"] = -9223372036854775807; $_SESSION["float"] = 0.1; $_SESSION["huge"] = INF; $_SESSION["nan"] = NAN;
	$_SESSION["text"] = "Grüße; s:3:\"x\"|}\0\n"; $_SESSION["empty"] = ""; $_SESSION["zero"] = "0";
	$_SESSION["list"] = [10, 20]; $_SESSION["map"] = ["a" => ["b" => "c"], 5 => [], -1 => null];
	$_SESSION["customer_base"] = ["customer_id" => "42", "none" => "0"];
	$_SESSION["object"] = new Customer; $_SESSION["date"] = new DateTime("2026-01-02 03:04:05 UTC");
	$_SESSION["enum"] = Suit::Hearts; $_SESSION["own"] = new Own; $_SESSION["storage"] = new ArrayObject([1]);
	$_SESSION["twice"] = [$_SESSION["object"], &$_SESSION["list"]];
`

func checkEverything(t *testing.T, v php.Values) {
	t.Helper()
	want := map[string]any{
		"null": nil, "yes": true, "no": false, "int": int64(-9223372036854775807), "float": 0.1, "huge": math.Inf(1),
		"text": "Grüße; s:3:\"x\"|}\x00\n", "empty": "", "zero": "0",
		"list":          php.Array{"0": int64(10), "1": int64(20)},
		"map":           php.Array{"a": php.Array{"b": "c"}, "5": php.Array{}, "-1": nil},
		"customer_base": php.Array{"customer_id": "42", "none": "0"},
		"object":        php.Array{"id": int64(7), "group": "b2b", "secret": php.Array{"a": 1.5}, "parent": nil},
		"enum":          php.Opaque{},
		"own":           php.Array{"x": int64(1)},
	}
	for name, value := range want {
		if got, ok := v[name]; !ok || !reflect.DeepEqual(got, value) {
			t.Errorf("%s: got %#v, want %#v", name, got, value)
		}
	}
	if f, ok := v["nan"].(float64); !ok || !math.IsNaN(f) {
		t.Errorf("nan: got %#v", v["nan"])
	}
	for path, want := range map[string]bool{
		"customer_base/customer_id": true, "customer_base/none": false, "customer_base/absent": false, "customer_base": true,
		"absent": false, "absent/deeper": false, "null": false, "no": false, "yes": true, "zero": false, "empty": false,
		"map/5": false, "map/a/b": true, "map/a/b/c": false, "text": true, "object/id": true, "object/secret/a": true,
		"enum": true, "enum/within": true, "date/date": true, "storage": true, "float": true, "list/1": true,
		"twice/0": true, "twice/1": true,
	} {
		if v.Has(path) != want {
			t.Errorf("Has(%q): got %t", path, !want)
		}
	}
	if t.Failed() {
		t.Logf("%#v", v)
	}
}

// TestHandlers reads what each of PHP's own serialize handlers writes.
func TestHandlers(t *testing.T) {
	for _, handler := range []string{"php", "php_serialize", "php_binary", "igbinary"} {
		t.Run(handler, func(t *testing.T) {
			data := run(t, map[string]string{"session.serialize_handler": handler, "session.save_path": t.TempDir()},
				`session_start();`+everything+`echo session_encode();`)
			v, err := php.Decode([]byte(data))
			if err != nil {
				t.Fatal(err)
			}
			checkEverything(t, v)
			if handler == "php_serialize" || handler == "igbinary" { // one value: no part of it is whole
				for n := 1; n < len(data); n++ {
					if v, err := php.Decode([]byte(data[:n])); err == nil {
						t.Errorf("cut to %d of %d bytes: read as %#v", n, len(data), v)
					}
				}
			}
		})
	}
	t.Run("msgpack is unknown", func(t *testing.T) {
		data := run(t, map[string]string{"session.serialize_handler": "msgpack", "session.save_path": t.TempDir()},
			`session_start(); $_SESSION["user"] = 42; echo session_encode();`)
		if v, err := php.Decode([]byte(data)); err == nil {
			t.Errorf("read as %#v", v)
		}
	})
}

const sid = "abcdefghijklmnopqrstuvwx,-0123"

// visitor returns a request with the session's cookie as PHP sets it.
func visitor(id string) *http.Request {
	r := httptest.NewRequest("GET", "https://shop.example/", nil)
	r.Header.Set("Cookie", "PHPSESSID="+url.QueryEscape(id))
	return r
}

func reader(t *testing.T, source php.Source) *php.Reader {
	t.Helper()
	p, err := php.New(source, php.Options{Timeout: 10 * time.Second, Logger: discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// check holds what a reader sees of the visitor with everything, and of others.
func check(t *testing.T, p *php.Reader) {
	t.Helper()
	v, err := p.Peek(visitor(sid))
	if err != nil {
		t.Fatal(err)
	}
	checkEverything(t, v)
	member := p.Has("customer_base/customer_id", "checkout/quote_id")
	if !member(visitor(sid)) {
		t.Error("a customer passed as anonymous")
	}
	if stranger := strings.Repeat("x", 30); member(visitor(stranger)) {
		t.Error("an id without a session passed as logged in")
	}
	if p.Has("absent")(visitor(sid)) {
		t.Error("something absent was found")
	}
}

func TestPHPRedis(t *testing.T) {
	server := servertest.Redis(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	for save, prefix := range map[string]string{"tcp://" + server.Addr: "", "tcp://" + server.Addr + "?prefix=shop:": "shop:", "tcp://" + server.Addr + "?prefix=": php.NoPrefix} {
		run(t, map[string]string{"session.save_handler": "redis", "session.save_path": `"` + save + `"`},
			`session_id("`+sid+`"); session_start();`+everything+`session_write_close();`)
		check(t, reader(t, php.Redis(client, prefix)))
	}
	// Looking neither writes nor prolongs.
	ttl := client.TTL(t.Context(), "shop:"+sid).Val()
	if ttl <= 0 || ttl > 1440*time.Second {
		t.Errorf("TTL %v", ttl)
	}
}

// TestMagento reads hashes as Cm_RedisSession writes them, with each method of
// compression that PHP has here.
func TestMagento(t *testing.T) {
	server := servertest.Redis(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	host, port, _ := strings.Cut(server.Addr, ":")
	// LZF and LZ4 come from phpredis, which puts a checksum and the length
	// before an LZ4 block.
	methods := map[string]string{
		"none": `$data`,
		"gzip": `":gz:".gzcompress($data, 1)`,
		"lzf":  `":lz:".(function($d, $r) { $r->setOption(Redis::OPT_COMPRESSION, Redis::COMPRESSION_LZF); return $r->_compress($d); })($data, $redis)`,
		"lz4":  `":l4:".pack("V", strlen($data)).(function($d, $r) { $r->setOption(Redis::OPT_COMPRESSION, Redis::COMPRESSION_LZ4); return substr($r->_compress($d), 5); })($data, $redis)`,
	}
	for name, expression := range methods {
		t.Run(name, func(t *testing.T) {
			size := run(t, map[string]string{"session.save_path": t.TempDir()}, fmt.Sprintf(`
				session_start(); %s $_SESSION["long"] = str_repeat("a long session, ", 500);
				$data = session_encode(); $length = strlen($data);
				$redis = new Redis; $redis->connect(%q, %s);
				$redis->setOption(Redis::OPT_COMPRESSION, Redis::COMPRESSION_NONE);
				$value = %s;
				$redis->setOption(Redis::OPT_COMPRESSION, Redis::COMPRESSION_NONE);
				$redis->hMSet("sess_%s", ["data" => $value, "lock" => 0, "writes" => 1]);
				echo strlen($value) < $length ? "smaller" : "same";`, everything, host, port, expression, sid))
			if (size == "smaller") == (name == "none") {
				t.Fatalf("the test's own compression: %s", size)
			}
			check(t, reader(t, php.Magento(client)))
		})
	}
	t.Run("unknown", func(t *testing.T) {
		if err := client.HSet(t.Context(), "sess_"+sid, "data", ":zz:whatever").Err(); err != nil {
			t.Fatal(err)
		}
		if !reader(t, php.Magento(client)).Has("absent")(visitor(sid)) {
			t.Error("an unknown compression passed as anonymous")
		}
	})
}

// TestMemcachedRing: php-memcached spreads sessions over three servers; each is
// found where PHP put it.
func TestMemcachedRing(t *testing.T) {
	var servers []string
	for range 3 {
		servers = append(servers, servertest.Memcached(t).Addr)
	}
	ini := map[string]string{"session.save_handler": "memcached", "session.save_path": `"` + strings.Join(servers, ",") + `"`}
	run(t, ini, `session_id("`+sid+`"); session_start();`+everything+`session_write_close();`)
	source, err := php.Memcached(servers...)
	if err != nil {
		t.Fatal(err)
	}
	p := reader(t, source)
	check(t, p)

	var ids []string
	if err := json.Unmarshal([]byte(run(t, ini, `
		$ids = [];
		for ($i = 0; $i < 1000; $i++) {
			session_id(bin2hex(random_bytes(16))); session_start();
			$_SESSION["id"] = $ids[] = session_id(); session_write_close();
		}
		echo json_encode($ids);`)), &ids); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if v, err := p.Peek(visitor(id)); err != nil || v["id"] != id {
			t.Errorf("%s: got %v, %v", id, v, err)
		}
	}
	for _, server := range servers { // else the ring proves nothing
		client := memcache.New(server)
		n := 0
		for _, id := range ids {
			if _, err := client.Get("memc.sess.key." + id); err == nil {
				n++
			}
		}
		client.Close()
		if n == 0 {
			t.Errorf("%s has none of the sessions", server)
		}
	}
}

// TestAStoreThatHangs: the visitor counts as logged in after the timeout.
func TestAStoreThatHangs(t *testing.T) {
	server := servertest.Redis(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, ReadTimeout: 5 * time.Second})
	defer client.Close()
	p, err := php.New(php.Redis(client, ""), php.Options{Logger: discard, Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if p.Has("user")(visitor(sid)) {
		t.Error("no session, but logged in")
	}
	server.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !p.Has("user")(visitor(sid)) && ctx.Err() == nil { // it may stop a moment later
	}
	if ctx.Err() != nil {
		t.Error("a store that hangs: the visitor passed as anonymous")
	}
	server.Resume()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
