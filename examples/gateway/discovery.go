package main

import (
	"errors"
	"strings"
	"time"

	"github.com/foretier/foretier/balancer"
)

// lookEvery is how often a name server is asked for the backends.
const lookEvery = 5 * time.Second

// lookup returns what balancer.DNS looks up for a backend that stands for all whom a name
// server knows: http+dns://shop:8080 by the addresses of a name, http+srv:// by services
// (RFC 2782). It is false for a backend that is one.
func lookup(backend string) (url string, ok bool) {
	scheme, rest, _ := strings.Cut(backend, "://")
	switch scheme = strings.ToLower(scheme); {
	case strings.HasSuffix(scheme, "+dns"):
		return strings.TrimSuffix(scheme, "+dns") + "://" + rest, true
	case strings.HasSuffix(scheme, "+srv"):
		return scheme + "://" + rest, true
	}
	return "", false
}

// checkLookup says what is wrong with a backend that is looked up.
func checkLookup(url string) error {
	scheme, rest, _ := strings.Cut(url, "://")
	if base, _, _ := strings.Cut(scheme, "+"); base != "http" && base != "h2c" && base != "fcgi" {
		return errors.New("want http, h2c or fcgi in front of +dns and +srv, such as http+dns://shop:8080 (certificates have no names where servers have addresses)")
	}
	if strings.ContainsAny(rest, "/?#@") {
		return errors.New("want a name and, but for +srv, perhaps a port, such as http+dns://shop.default.svc.cluster.local:8080 or http+srv://shop.service.consul")
	}
	p, err := balancer.New(nil, balancer.Options{Source: balancer.DNS(url, lookEvery), Transport: noWay})
	if err == nil {
		err = p.Close()
	}
	return err
}

// sourceOf returns what tells of the backends in at, and those of them that stand there
// themselves.
func sourceOf(at []string) (balancer.Source, []string) {
	if len(at) == 1 {
		if url, ok := lookup(at[0]); ok {
			return balancer.DNS(url, lookEvery), nil
		}
	}
	return nil, at
}
