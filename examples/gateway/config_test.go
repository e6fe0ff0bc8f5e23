package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const someBackends = "-backends=http://10.0.0.11:8080"

func TestWrongFlagsSayWhatWouldBeRight(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, size int) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cases := map[string]struct {
		args []string
		want []string // all of it stands in the message
	}{
		"no backends":       {nil, []string{"-backends is missing", "http://10.0.0.11:8080"}},
		"unknown flag":      {[]string{someBackends, "-chache", "1"}, []string{"-chache", "-h lists"}},
		"an argument":       {[]string{someBackends, "serve"}, []string{`"serve" is no flag`}},
		"backend, no URL":   {[]string{"-backends", "10.0.0.11:8080"}, []string{"-backends", "10.0.0.11:8080", "http://"}},
		"backend, name":     {[]string{"-backends", "web1:8080"}, []string{"-backends", "want http://web1:8080"}},
		"backend, socket":   {[]string{"-backends", "http://unix:/run/shop.sock"}, []string{"unix:///run/shop.sock"}},
		"socket, relative":  {[]string{"-backends", "unix://run/shop.sock"}, []string{"unix:///run/shop.sock"}},
		"socket, folder":    {[]string{"-backends", "unix:///run/"}, []string{"-backends", "unix:///run/shop.sock"}},
		"purge, no cache":   {[]string{someBackends, "-cache", "0", "-purge-from", "10.0.0.0/8"}, []string{"-purge-from", "nothing with -cache 0"}},
		"ttl, no cache":     {[]string{someBackends, "-cache", "0", "-cache-ttl", "60s"}, []string{"-cache-ttl", "nothing with -cache 0"}},
		"fields, no cache":  {[]string{someBackends, "-cache", "0", "-cache-fields", "X-Store"}, []string{"-cache-fields", "nothing with -cache 0"}},
		"fields":            {[]string{someBackends, "-cache-fields", "X Store"}, []string{`-cache-fields "X Store"`, "X-Shop-*"}},
		"bypass, no cache":  {[]string{someBackends, "-cache", "0", "-cache-bypass-cookie", "cart"}, []string{"-cache-bypass-cookie", "nothing with -cache 0"}},
		"redis, no use":     {[]string{someBackends, "-redis", "redis://a"}, []string{"-redis", "want -sticky NAME"}},
		"two pages":         {[]string{someBackends, "-error-page", "503=" + file("one", 9), "-error-page", "503=" + file("two", 9)}, []string{"there are two for 503"}},
		"trust, mapped":     {[]string{someBackends, "-trust", "::ffff:0:0/90"}, []string{"-trust", "neither a network of IPv4 nor one of IPv6"}},
		"log-hits":          {[]string{someBackends, "-log-hits", "0"}, []string{`-log-hits "0"`, "such as 100"}},
		"trace":             {[]string{someBackends, "-trace", "all"}, []string{`-trace "all"`, "pass, begin or clients"}},
		"observers":         {[]string{someBackends, "-observers", "office"}, []string{`-observers "office"`, "127.0.0.1"}},
		"backend, ftp":      {[]string{"-backends", "ftp://a"}, []string{"want a URL that starts with http://"}},
		"backend, no host":  {[]string{"-backends", "http://"}, []string{"names no host"}},
		"backend, port":     {[]string{"-backends", "http://a:99999"}, []string{"99999", "65535"}},
		"backend, port 0":   {[]string{"-backends", "http://a:0"}, []string{"port 0", "from 1"}},
		"backend, query":    {[]string{"-backends", "http://a/?x"}, []string{"no query"}},
		"backends file":     {[]string{"-backends", "@/none/backends"}, []string{"-backends @/none/backends", "no such file", "want a readable file"}},
		"backends, a dir":   {[]string{"-backends", "@" + dir}, []string{"-backends @" + dir, "no regular file"}},
		"backends, none":    {[]string{"-backends", "@" + text("empty", "# none\n\n")}, []string{"it names no backend", "http://10.0.0.11:8080"}},
		"backends, line":    {[]string{"-backends", "@" + text("web", "http://a # one\nweb2:8080\n")}, []string{`line 2: "web2:8080"`, "want http://web2:8080"}},
		"backends, twice":   {[]string{"-backends", "@" + text("twin", "http://a\nhttp://b\nhttp://a\n")}, []string{"line 3", "twice"}},
		"backends, long":    {[]string{"-backends", "@" + file("longline", maxFileLine+1)}, []string{"line 1 has 8193 bytes"}},
		"base path, admin":  {[]string{"-backends", "@" + text("base", "http://a/admin\n"), "-origin", "http://b"}, []string{"admin", "claimed"}},
		"redirects":         {[]string{someBackends, "-redirects", "/none/moved.csv"}, []string{"-redirects /none/moved.csv", "no such file"}},
		"redirects, line":   {[]string{someBackends, "-redirects", text("moved", "/a,/b\n/c;/d\n")}, []string{"line 2", "not semicolons"}},
		"redirects, circle": {[]string{someBackends, "-redirects", text("circle", "/a,/b\n/b,/a\n")}, []string{"line 1", "leads back"}},
		"block":             {[]string{someBackends, "-block", "/none/list"}, []string{"-block /none/list", "no such file"}},
		"block, line":       {[]string{someBackends, "-block", text("block", "# bots\n192.0.2.0/33\n")}, []string{"line 2", `"192.0.2.0/33" is no network`}},
		"block, host bits":  {[]string{someBackends, "-block", text("bits", "192.0.2.1/24\n")}, []string{"line 1", "want 192.0.2.0/24"}},
		"block, a zone":     {[]string{someBackends, "-block", text("zone", "fe80::1%eth0\n")}, []string{"line 1", "is no network"}},
		"block, everybody":  {[]string{someBackends, "-block", text("all", "0.0.0.0/0\n")}, []string{"line 1", "everybody", "-maintenance FILE"}},
		"block, a proxy":    {[]string{someBackends, "-trust", "10.0.0.2", "-block", text("proxy", "10.0.0.0/8\n")}, []string{"10.0.0.0/8 has addresses of -trust 10.0.0.2/32"}},
		"block, the shop":   {[]string{someBackends, "-purge-from", "10.0.0.0/8", "-block", text("shop", "10.0.0.7\n")}, []string{"10.0.0.7/32 has addresses of -purge-from 10.0.0.0/8"}},
		"maintenance":       {[]string{someBackends, "-maintenance", text("closed", "office\n")}, []string{"-maintenance", "line 1", `"office" is no network`}},
		"maintenance, dir":  {[]string{someBackends, "-maintenance", dir}, []string{"-maintenance", "no regular file"}},
		"maintenance, many": {[]string{someBackends, "-maintenance", text("office", strings.Repeat("10.0.0.1\n", 101))}, []string{"want 100 at most"}},
		"backend twice":     {[]string{"-backends", "http://a,http://a"}, []string{"-backends"}},
		"origin":            {[]string{someBackends, "-origin", "web0"}, []string{"-origin", "web0"}},
		"admin, no origin":  {[]string{someBackends, "-admin", "/admin"}, []string{"-admin", "-origin"}},
		"admin, empty":      {[]string{someBackends, "-origin", "http://a", "-admin", ""}, []string{`-admin ""`, "/admin,/cron.php"}},
		"admin, no slash":   {[]string{someBackends, "-origin", "http://a", "-admin", "admin"}, []string{`-admin "admin"`, "/admin"}},
		"probe":             {[]string{someBackends, "-probe", "healthz"}, []string{"-probe", "/healthz"}},
		"probe host, URL":   {[]string{someBackends, "-probe", "/healthz", "-probe-host", "http://shop.example"}, []string{"-probe-host", "without http://"}},
		"probe host, list":  {[]string{someBackends, "-probe", "/healthz", "-probe-host", "a.example,b.example"}, []string{"-probe-host", "shop.example"}},
		"probe host, alone": {[]string{someBackends, "-probe-host", "shop.example"}, []string{"-probe-host", "it needs -probe"}},
		"policy":            {[]string{someBackends, "-policy", "random"}, []string{"adaptive, roundrobin, least or hash"}},
		"sticky":            {[]string{someBackends, "-sticky", "a b"}, []string{`-sticky "a b"`, "want the name of a cookie"}},
		"key, no cookie":    {[]string{someBackends, "-sticky-key-file", file("k", 32)}, []string{"-sticky NAME"}},
		"key, no file":      {[]string{someBackends, "-sticky", "pin", "-sticky-key-file", dir + "/none"}, []string{"no such file", "/dev/urandom"}},
		"key, short":        {[]string{someBackends, "-sticky", "pin", "-sticky-key-file", file("short", 3)}, []string{"3 bytes"}},
		"cache":             {[]string{someBackends, "-cache", "lots"}, []string{"256MiB"}},
		"cache, negative":   {[]string{someBackends, "-cache", "-1"}, []string{"256MiB"}},
		"cache, tiny":       {[]string{someBackends, "-cache", "4KiB"}, []string{"at least 1MiB"}},
		"ttl":               {[]string{someBackends, "-cache-ttl", "-1s"}, []string{"-cache-ttl", "60s, or 0"}},
		"ttl, no unit":      {[]string{someBackends, "-cache-ttl", "60"}, []string{"-cache-ttl", "60s"}},
		"ttl by status":     {[]string{someBackends, "-cache-ttl", "60s,404=5"}, []string{"-cache-ttl", "60s,404=5s"}},
		"ttl of no status":  {[]string{someBackends, "-cache-ttl", "60s,missing=5s"}, []string{"-cache-ttl", `"missing" is no status`}},
		"ttl of a part":     {[]string{someBackends, "-cache-ttl", "206=5s"}, []string{"-cache-ttl", "206"}},
		"compress":          {[]string{someBackends, "-compress", "gzip"}, []string{`-compress "gzip"`, "on, private or off"}},
		"bypass cookie":     {[]string{someBackends, "-cache-bypass-cookie", "a,b;c"}, []string{`"b;c"`, "want the name of a cookie"}},
		"bypass, no store":  {[]string{someBackends, "-cache-bypass-session", "user"}, []string{"-cache-bypass-session", "-redis"}},
		"redis":             {[]string{someBackends, "-redis", "10.0.0.20:6379"}, []string{"redis://10.0.0.20:6379/0"}},
		"snapshot":          {[]string{someBackends, "-cache-snapshot", "/none/pages"}, []string{"-cache-snapshot", "/var/lib/gateway/pages"}},
		"snapshot, a dir":   {[]string{someBackends, "-cache-snapshot", os.TempDir()}, []string{"-cache-snapshot", "no regular file"}},
		"snapshot, off":     {[]string{someBackends, "-cache-snapshot", "pages", "-cache", "0"}, []string{"-cache-snapshot", "-cache 0"}},
		"warm":              {[]string{someBackends, "-warm", "/none/urls"}, []string{"-warm", "https://shop.example/"}},
		"warm, no URLs":     {[]string{someBackends, "-warm", "config_test.go"}, []string{"-warm", "line 1 is no URL"}},
		"warm, off":         {[]string{someBackends, "-warm", "urls", "-cache", "0"}, []string{"-warm", "-cache 0"}},
		"redis-cache":       {[]string{someBackends, "-redis-cache", "10.0.0.20"}, []string{"-redis-cache", "redis://10.0.0.20:6379/0"}},
		"redis-cache, off":  {[]string{someBackends, "-redis-cache", "redis://a", "-cache", "0"}, []string{"-redis-cache", "-cache 0"}},
		"redis-pages":       {[]string{someBackends, "-redis-cache", "redis://a", "-redis-pages", "10.0.0.20"}, []string{"-redis-pages", "redis://10.0.0.20:6379/0"}},
		"redis-pages alone": {[]string{someBackends, "-redis-pages", "redis://a"}, []string{"-redis-pages", "-redis-cache"}},
		"redis, database":   {[]string{someBackends, "-redis", "redis://a/x"}, []string{"-redis"}},
		"memcached":         {[]string{someBackends, "-memcached", "10.0.0.20"}, []string{"HOST:PORT"}},
		"two stores":        {[]string{someBackends, "-redis", "redis://a", "-memcached", "a:1"}, []string{"not both"}},
		"purge":             {[]string{someBackends, "-purge-from", "10.0.0.0/33"}, []string{"-purge-from", "10.0.0.0/8"}},
		"purge, host bits":  {[]string{someBackends, "-purge-from", "10.0.0.1/8"}, []string{"want 10.0.0.0/8"}},
		"purge by host":     {[]string{someBackends, "-purge-by-host"}, []string{"-purge-by-host", "-purge-from CIDR"}},
		"shop":              {[]string{someBackends, "-shop", "prestashop"}, []string{`-shop "prestashop"`, "magento, shopware, wordpress or oxid"}},
		"shop, no purges":   {[]string{someBackends, "-shop", "shopware"}, []string{"-shop", "-purge-from CIDR", "-cache 0"}},
		"shop, no admin":    {[]string{someBackends, "-shop", "magento", "-origin", "http://a", "-purge-from", "10.0.0.0/8"}, []string{"-shop", "-admin /NAME", "info:adminuri"}},
		"shop, no origin":   {[]string{someBackends, "-shop", "oxid"}, []string{"-shop", "-origin URL"}},
		"media":             {[]string{someBackends, "-origin", "http://a", "-media", "media"}, []string{`-media "media"`, "want a plain path such as /media/*"}},
		"media, no origin":  {[]string{someBackends, "-media", "/media/*"}, []string{`-media "/media/*"`, "it needs -origin URL"}},
		"trust":             {[]string{someBackends, "-trust", "all"}, []string{"-trust", "127.0.0.1"}},
		"listen":            {[]string{someBackends, "-listen", "8080"}, []string{"-listen", ":8080"}},
		"listen, empty":     {[]string{someBackends, "-listen", ""}, []string{"-listen", ":8080"}},
		"listen, relative":  {[]string{someBackends, "-trust", "127.0.0.1", "-listen", "unix:gateway.sock"}, []string{`-listen "unix:gateway.sock"`, "absolute path"}},
		"listen, mode":      {[]string{someBackends, "-trust", "127.0.0.1", "-listen", "unix:/tmp/s:0777"}, []string{`-listen "unix:/tmp/s:0777"`, "want 0600", "0660"}},
		"listen, no place":  {[]string{someBackends, "-trust", "127.0.0.1", "-listen", "unix:/nowhere/gateway.sock"}, []string{`-listen "unix:/nowhere/gateway.sock"`, "no such file"}},
		"listen, no socket": {[]string{someBackends, "-listen", "/run/gateway.sock"}, []string{"-listen", "HOST:PORT", "unix:/run/gateway/gateway.sock"}},
		"listen, no trust":  {[]string{someBackends, "-trust", "10.0.0.0/8", "-listen", "unix:/tmp/s"}, []string{`-listen "unix:/tmp/s"`, "needs -trust 127.0.0.1"}},
		"search, no cache":  {[]string{someBackends, "-cache", "0", "-cache-ignore-no-vary-search"}, []string{"-cache-ignore-no-vary-search", "nothing with -cache 0"}},
		"status":            {[]string{someBackends, "-status", "localhost:http"}, []string{"-status"}},
		"status, relative":  {[]string{someBackends, "-status", "unix:status.sock"}, []string{`-status "unix:status.sock"`, "/run/gateway/status.sock"}},
		"status, mode":      {[]string{someBackends, "-status", "127.0.0.1:0,unix:/tmp/s:0666"}, []string{`-status "unix:/tmp/s:0666"`, "want 0600", "0660"}},
		"status, no place":  {[]string{someBackends, "-status", "unix:/nowhere/status.sock"}, []string{`-status "unix:/nowhere/status.sock"`, "no such file"}},
		"status, no socket": {[]string{someBackends, "-status", "/run/gateway/status.sock"}, []string{"-status", "HOST:PORT", "unix:/run/gateway/status.sock"}},
		"act, no status":    {[]string{"-act", "drain web2"}, []string{"-act", "-status of the gateway"}},
		"act, bad status":   {[]string{"-act", "drain web2", "-status", "8081"}, []string{"-status", "HOST:PORT"}},
		"status hosts":      {[]string{someBackends, "-status", "127.0.0.1:0", "-status-hosts", "gw1:8081"}, []string{`-status-hosts "gw1:8081"`, "gw1.internal"}},
		"hosts, no status":  {[]string{someBackends, "-status-hosts", "gw1"}, []string{"-status-hosts", "-status HOST:PORT"}},
		"cert alone":        {[]string{someBackends, "-tls-cert", "a"}, []string{"-tls-key is missing"}},
		"key alone":         {[]string{someBackends, "-tls-key", "a"}, []string{"-tls-cert is missing"}},
		"cert, no file":     {[]string{someBackends, "-tls-key", "none", "-tls-cert", "none"}, []string{"-tls-cert", "none", "want PEM files"}},
		"cert, no PEM":      {[]string{someBackends, "-tls-key", file("p", 9), "-tls-cert", file("q", 9)}, []string{"-tls-cert", "want PEM files"}},
		"acme, no store":    {[]string{someBackends, "-acme", "shop.example"}, []string{"-acme-store", "want a directory"}},
		"acme, wildcard":    {[]string{someBackends, "-acme", "*.shop.example", "-acme-store", "a"}, []string{`-acme "*.shop.example"`, "certificate of your own"}},
		"acme, URL":         {[]string{someBackends, "-acme", "https://shop.example", "-acme-store", "a"}, []string{"without scheme and port"}},
		"acme, store":       {[]string{someBackends, "-acme", "shop.example", "-acme-store", "s3://bucket"}, []string{"-acme-store", "directory or a redis://"}},
		"acme, Redis":       {[]string{someBackends, "-acme", "shop.example", "-acme-store", "redis://a:b:c"}, []string{"-acme-store", "redis://10.0.0.20:6379"}},
		"acme, directory":   {[]string{someBackends, "-acme", "shop.example", "-acme-store", "a", "-acme-directory", "http://ca"}, []string{"-acme", "authority's directory"}},
		"acme, no CA":       {[]string{someBackends, "-acme", "shop.example", "-acme-store", "a", "-acme-ca", "none"}, []string{"-acme-ca", "no such file"}},
		"acme, no PEM":      {[]string{someBackends, "-acme", "shop.example", "-acme-store", "a", "-acme-ca", file("ca", 9)}, []string{"-acme-ca", "want certificates in PEM"}},
		"HTTP/3 of plain":   {[]string{someBackends, "-http3", "on"}, []string{`-http3 "on"`, "-tls-cert or -acme"}},
		"HTTP/3, no port":   {[]string{someBackends, "-acme", "shop.example", "-acme-store", "a", "-http3", "yes"}, []string{`-http3 "yes"`, "HOST:PORT", "or on, or off"}},
		"store alone":       {[]string{someBackends, "-acme-store", "a"}, []string{"-acme-store", "-acme NAMES"}},
		"redirect alone":    {[]string{someBackends, "-https-redirect", ":80"}, []string{"-https-redirect", "-tls-cert or -acme"}},
		"redirect, no port": {[]string{someBackends, "-https-redirect", "80", "-acme", "shop.example", "-acme-store", "a"}, []string{"-https-redirect", "HOST:PORT"}},
		"https port":        {[]string{someBackends, "-https-port", "0"}, []string{"-https-port", "from 1 to 65535"}},
		"error page":        {[]string{someBackends, "-error-page", "503"}, []string{"STATUS=FILE"}},
		"error page, 200":   {[]string{someBackends, "-error-page", "200=a"}, []string{"400 to 599"}},
		"error page, none":  {[]string{someBackends, "-error-page", "503=none.html"}, []string{"no such file"}},
		"error page, large": {[]string{someBackends, "-error-page", "503=" + file("large", maxPage+1)}, []string{"65536"}},
		"linger":            {[]string{someBackends, "-linger", "-1s"}, []string{"-linger", "10s, or 0"}},
		"linger, no unit":   {[]string{someBackends, "-linger", "10"}, []string{"-linger", "10s"}},
		"log":               {[]string{someBackends, "-log", "yes"}, []string{"text, json or off"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			// run, not parse: some mistakes are found by the packages.
			var out, errs bytes.Buffer
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // a mistake that is not found would serve
			if code := run(ctx, append([]string{"-listen", "127.0.0.1:0"}, c.args...), &out, &errs); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			for _, want := range c.want {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("the message lacks %q: %s", want, errs.String())
				}
			}
			if strings.Contains(errs.String(), "msg=serving") {
				t.Error("it listened before it looked")
			}
		})
	}
}

func TestParse(t *testing.T) {
	dir := t.TempDir()
	key, page := filepath.Join(dir, "key"), filepath.Join(dir, "sorry.html")
	for _, f := range []string{key, page} {
		if err := os.WriteFile(f, []byte("0123456789abcdef0123456789abcdef"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := parse([]string{"-backends", "http://a:1, https://b", "-origin=h2c://c", "-admin", "/admin,/x", "-probe", "/healthz",
		"-policy", "hash", "-sticky", "pin", "-sticky-key-file", key, "-cache", "2GiB", "-cache-ttl", "90s", "-cache-bypass-cookie", "a,b",
		"-memcached", "a:1,b:2", "-purge-from", "10.0.0.0/8,::1", "-trust", "192.0.2.1,::ffff:10.0.0.0/104", "-error-page", "503=" + page, "-error-page", "502=" + page,
		"-status", "127.0.0.1:9", "-linger", "0", "-log", "json"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.backends) != 2 || c.backends[1] != "https://b" || c.origin != "h2c://c" || len(c.admin) != 2 || c.cacheSize != 2<<30 ||
		c.cacheTTL != 90*time.Second || len(c.bypass) != 2 || len(c.memcached) != 2 || len(c.purgeFrom) != 2 || !c.purgeFrom[1].Addr().Is6() ||
		c.trust[0].String() != "192.0.2.1/32" || c.trust[1].String() != "10.0.0.0/8" || len(c.pages) != 2 || len(c.stickyKey) != 32 || c.log != "json" || c.linger != 0 || c.policy != "hash" {
		t.Errorf("got %+v", c)
	}
}

func TestDefaults(t *testing.T) {
	c, err := parse([]string{someBackends}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.listen != ":8080" || c.policy != "adaptive" || c.cacheSize != 256<<20 || c.cacheTTL != 0 || c.log != "text" || c.compress != "on" ||
		strings.Join(c.admin, ",") != "/admin,/cron.php" || c.probe != "" || c.sticky != "" || c.status != "" || c.linger != 10*time.Second || c.trust != nil || c.purgeFrom != nil {
		t.Errorf("got %+v", c)
	}
}

func TestHelpListsEveryFlag(t *testing.T) {
	var out bytes.Buffer
	if _, err := parse([]string{"-h"}, &out); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	for _, name := range strings.Fields("listen backends origin admin media probe probe-host policy max-requests max-streams streams via sticky sticky-key-file cache cache-snapshot warm cache-ttl cache-devices compress cache-bypass-cookie cache-bypass-session " +
		"redis redis-cache redis-pages memcached purge-from trust tls-cert tls-key error-page status status-hosts act act-from linger plain-http2 log acme acme-store acme-email acme-directory acme-ca https-redirect https-port http3 " +
		"limit limit-redis basic basic-paths ask ask-paths ask-fields ask-cookies answer error-pages") {
		if !strings.Contains(out.String(), "  -"+name+" ") && !strings.Contains(out.String(), "  -"+name+"\n") {
			t.Errorf("-h says nothing of -%s", name)
		}
	}
}

func TestParseSize(t *testing.T) {
	cases := map[string]int64{"0": 0, "1048576": 1 << 20, "256MiB": 256 << 20, "1.5GiB": 3 << 29, "500MB": 500e6, "2GB": 2e9, "4096KiB": 4 << 20, "2097152B": 2 << 20}
	for in, want := range cases {
		if got, err := parseSize(in); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "MiB", "1e99GiB", "NaN", "Inf", "-1", "1 MiB", "1MiBs"} {
		if got, err := parseSize(in); err == nil {
			t.Errorf("%q passed as %d", in, got)
		}
	}
}

// TestPagesNameFlagsThatExist: what the pages on running it tell people to write.
func TestPagesNameFlagsThatExist(t *testing.T) {
	var help bytes.Buffer
	if _, err := parse([]string{"-h"}, &help); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	flags := regexp.MustCompile("(?:`|\"|gateway |\\S )(-[a-z][a-z-]*[a-z])(?:[ `\"]|$)")
	for page, least := range map[string]int{"../../docs/running.md": 20, "../../docs/first-night.md": 6, "README.md": 8} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "curl ") || strings.Contains(line, "go build") {
				continue // others' flags
			}
			for _, m := range flags.FindAllStringSubmatch(line, -1) {
				n++
				if !strings.Contains(help.String(), "  "+m[1]+" ") && !strings.Contains(help.String(), "  "+m[1]+"\n") {
					t.Errorf("%s names %s, which is no flag", page, m[1])
				}
			}
		}
		if n < least {
			t.Errorf("%s: only %d flags found", page, n)
		}
	}
}
