package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/balancer/fcgi"
)

const fcgiExample = "fcgi://10.0.0.11:9000?root=/var/www/shop"

// isFCGI reports whether a backend is php-fpm.
func isFCGI(backend string) bool {
	lower := strings.ToLower(backend)
	return strings.HasPrefix(lower, "fcgi:") || strings.HasPrefix(lower, "fcgi+")
}

// checkFCGI says what is wrong with the URL of a php-fpm; the pool says what is with its
// address.
func checkFCGI(s string) error {
	at, site, _ := strings.Cut(s, "?")
	if !strings.Contains(at, "://") {
		return errors.New("want fcgi:// and a host and port or the absolute path of a socket, such as fcgi:///run/php/php8.2-fpm.sock?root=/var/www/shop")
	}
	if url, ok := lookup(at); ok {
		if err := checkLookup(url); err != nil {
			return err
		}
	} else if _, err := balancer.New(balancer.Backends(at), balancer.Options{Transport: noWay}); err != nil {
		return err
	}
	_, _, err := readSite(site)
	return err
}

// noWay is for pools whose addresses are checked and that ask nobody.
func noWay(balancer.Backend) http.RoundTripper { return nil }

// readSite reads what the URL of a php-fpm says of its site.
func readSite(query string) (root string, o fcgi.Options, err error) {
	values, err := url.ParseQuery(query)
	if err != nil || strings.Contains(query, "#") {
		return "", o, errors.New("want a URL such as " + fcgiExample)
	}
	for name, given := range values {
		value := given[0]
		if len(given) > 1 && name != "script" && name != "deny" {
			return "", o, fmt.Errorf("%s is there twice: want it once", name)
		}
		switch name {
		case "root":
			root = value
		case "files":
			if o.Files = value; value == "none" {
				o.Files, o.Remote = "", true
			}
		case "front":
			if o.Front = value; value == "none" {
				o.Front, o.NoFront = "", true
			}
		case "script":
			o.Scripts = given
		case "deny":
			o.Deny = given
		default:
			return "", o, fmt.Errorf("%q is nothing that is known of a site: want root, files, front, script or deny, as in %s", name, fcgiExample)
		}
	}
	if root == "" {
		return "", o, errors.New("the root is missing: want the directory that php-fpm knows the site by, such as " + fcgiExample)
	}
	return root, o, nil
}

// splitBackends returns where backends are, and what those of them that are php-fpm say of
// their site, which is one; "" if none is.
func splitBackends(urls []string) (at []string, site string, err error) {
	first := ""
	for _, u := range urls {
		if isFCGI(u) {
			var this string
			u, this, _ = strings.Cut(u, "?")
			if site = cmp.Or(site, this); site != this {
				return nil, "", fmt.Errorf("%s has ?%s and %s has ?%s: want one site of all", first, site, u, this)
			}
			first = cmp.Or(first, u)
		}
		at = append(at, u)
	}
	return at, site, nil
}

// newSite returns the site that php-fpm's URLs tell of, or nil if there is none.
func newSite(said string, log *slog.Logger) (*fcgi.Site, error) {
	if said == "" {
		return nil, nil
	}
	root, opts, err := readSite(said)
	if err != nil {
		return nil, err
	}
	opts.Logger = log
	return fcgi.New(root, opts)
}

// transportOf is for the backends of a pool that may have a site.
func transportOf(site *fcgi.Site) func(balancer.Backend) http.RoundTripper {
	if site == nil {
		return nil
	}
	return site.Transport
}

// filesOf serves the files of a site in front of its pool.
func filesOf(site *fcgi.Site, pool *balancer.Pool) http.Handler {
	if site == nil {
		return pool
	}
	return site.Files(pool)
}
