package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/balancer"
)

func list(s string) []string {
	var out []string
	for member := range strings.SplitSeq(s, ",") {
		if member = strings.TrimSpace(member); member != "" {
			out = append(out, member)
		}
	}
	return out
}

// checkBackend says what is wrong with the URL of a server. That something is the pool says,
// but for php-fpm's sites and names to look up; which schemes there are is said in the words
// of flags.
func checkBackend(s string) error {
	if isFCGI(s) {
		return checkFCGI(s)
	}
	if url, ok := lookup(s); ok {
		return checkLookup(url)
	}
	_, err := balancer.New(balancer.Backends(s), balancer.Options{Transport: noWay})
	scheme, _, ok := strings.Cut(s, "://")
	switch {
	case err == nil || strings.HasPrefix(s, "unix:") || strings.HasPrefix(s, "/"):
		return err
	case !ok:
		return fmt.Errorf("the scheme is missing: want http://%s", shown(s))
	case !slices.Contains([]string{"http", "https", "h2c"}, strings.ToLower(scheme)):
		return errors.New("want a URL that starts with http://, https://, h2c:// or fcgi://, such as http://10.0.0.11:8080")
	}
	return err
}

// parseBackends reads the URLs of application servers, one a line.
func parseBackends(content []byte) (urls []string, err error) {
	err = eachLine(content, func(line string) error {
		err := checkBackend(line)
		if _, ok := lookup(line); ok {
			err = errors.New("a name server knows which backends there are: want it in place of the file, as -backends " + line)
		}
		if slices.Contains(urls, line) {
			err = errors.New("it is there twice: want it once")
		}
		if err != nil {
			return fmt.Errorf("%.200q: %w", shown(line), err) // the log is no place for passwords
		}
		urls = append(urls, line)
		return nil
	})
	if err == nil && len(urls) == 0 {
		err = errors.New("it names no backend: want one a line, such as http://10.0.0.11:8080")
	}
	return urls, err
}

func checkPath(s, example string) error {
	if !strings.HasPrefix(s, "/") || strings.ContainsAny(s, "?#%\\ ") {
		return errors.New("want a plain path such as " + example)
	}
	return nil
}

func checkProbeHost(host, probe string) error {
	u, err := url.Parse("http://" + host)
	if err != nil || u.Host != host || u.Hostname() == "" || strings.HasSuffix(host, ":") || strings.ContainsAny(host, "*,;'\"<>%") {
		return errors.New("want a host such as shop.example, without http://")
	}
	if probe == "" {
		return errors.New("it needs -probe PATH, such as /healthz")
	}
	return nil
}

func checkCookie(name string) error {
	if (&http.Cookie{Name: name, Value: "x"}).Valid() != nil {
		return errors.New("want the name of a cookie: letters, digits, hyphens, underscores")
	}
	return nil
}

func checkField(name string) error {
	if checkCookie(strings.TrimSuffix(name, "*")) != nil { // the same letters
		return errors.New("want the name of a field, such as X-Store, or the beginning of some, such as X-Shop-*")
	}
	return nil
}

func checkHost(s string) error {
	if strings.ContainsAny(s, "/*") || checkListen(s) == nil {
		return errors.New("want a name or an address without scheme and port, such as gw1.internal")
	}
	return nil
}

func checkListen(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New("want HOST:PORT, such as 127.0.0.1:8080 or :8080")
	}
	return checkPort(port, 0) // 0: any that is free
}

func checkPort(s string, least int) error {
	if n, err := strconv.Atoi(s); err != nil || n < least || n > 65535 {
		return fmt.Errorf("port %q: want a number from 1 to 65535", s)
	}
	return nil
}

func checkRedis(s string) error {
	if _, err := redis.ParseURL(s); err != nil {
		var whole *url.Error // says the URL, with its password
		if errors.As(err, &whole) {
			err = whole.Err
		}
		return fmt.Errorf("%w: want a URL such as redis://10.0.0.20:6379/0", err)
	}
	return nil
}

// parseLifetimes reads 60s, or 60s,404=5s,302=10m.
func parseLifetimes(s string) (all time.Duration, byStatus map[int]time.Duration, err error) {
	byStatus = make(map[int]time.Duration)
	for _, member := range list(s) {
		status, text, named := strings.Cut(member, "=")
		if !named {
			text = member
		}
		lifetime, err := time.ParseDuration(text)
		if err != nil || lifetime < 0 {
			return 0, nil, errors.New("want a time with its unit, such as 60s, or 0, and perhaps others by status, such as 60s,404=5s")
		}
		if !named {
			all = lifetime
			continue
		}
		n, err := strconv.Atoi(status)
		if err != nil || n < 200 || n > 599 {
			return 0, nil, fmt.Errorf("%q is no status: want one from 200 to 599, such as 404=5s", status)
		}
		byStatus[n] = lifetime
	}
	return all, byStatus, nil
}

// parseSize reads bytes: 0, 1048576, 256MiB, 2GiB, 500MB.
func parseSize(s string) (int64, error) {
	units := []struct {
		suffix string
		factor float64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
		{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1}}
	bad := errors.New("want a size such as 256MiB, 2GiB or 0")
	for _, u := range units {
		number, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(number, 64)
		if err != nil || !(f >= 0) || f*u.factor > math.MaxInt64/2 {
			return 0, bad
		}
		n := int64(f * u.factor)
		if n > 0 && n < minCacheBytes {
			return 0, errors.New("too small to be of use: want at least 1MiB, or 0 for no cache")
		}
		return n, nil
	}
	return 0, bad
}

func prefixes(s string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, member := range list(s) {
		p, err := parsePrefix(member)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// parsePrefix reads a network, or an address as one of its own.
func parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%.200q is no network: want one such as 10.0.0.0/8 or 127.0.0.1", s)
	}
	if p.Addr().Is4In6() { // addresses are compared as IPv4
		if p.Bits() < 96 {
			return p, fmt.Errorf("%q is neither a network of IPv4 nor one of IPv6: want one such as 10.0.0.0/8", s)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%q has bits beyond its length: want %s", s, p.Masked())
	}
	return p, nil
}

func readKey(cookie, file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	if cookie == "" {
		return nil, fmt.Errorf("-sticky-key-file %q: it needs -sticky NAME, the cookie to sign", file)
	}
	key, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("-sticky-key-file: %w: want a readable file of %d random bytes or more, such as 'head -c 32 /dev/urandom' writes", err, minStickyKey)
	}
	if len(key) < minStickyKey {
		return nil, fmt.Errorf("-sticky-key-file %q: %d bytes: want %d random bytes or more, such as 'head -c 32 /dev/urandom' writes", file, len(key), minStickyKey)
	}
	return key, nil
}

func checkPair(cert, key string) error {
	switch {
	case cert == "" && key == "":
		return nil
	case cert == "":
		return errors.New("-tls-cert is missing: want it together with -tls-key")
	case key == "":
		return errors.New("-tls-key is missing: want it together with -tls-cert")
	}
	return nil // the pair itself is read by edge.Certificates
}

func readPages(flags []string) (map[int][]byte, error) {
	pages := make(map[int][]byte)
	for _, f := range flags {
		code, file, ok := strings.Cut(f, "=")
		status, err := strconv.Atoi(code)
		if !ok || err != nil || status < 400 || status > 599 {
			return nil, fmt.Errorf("-error-page %q: want STATUS=FILE with a status from 400 to 599, such as 503=sorry.html", f)
		}
		page, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("-error-page %q: %w: want a readable HTML file", f, err)
		}
		if len(page) == 0 || len(page) > maxPage {
			return nil, fmt.Errorf("-error-page %q: %d bytes: want self-contained HTML of 1 to %d bytes", f, len(page), maxPage)
		}
		if pages[status] != nil {
			return nil, fmt.Errorf("-error-page %q: there are two for %d: want one", f, status)
		}
		pages[status] = page
	}
	return pages, nil
}
