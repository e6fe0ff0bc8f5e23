//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// TestBackendsByName: the recipes for Docker, Kubernetes and Consul, by what a name server
// says over the wire. Loopback has all the addresses on Linux.
func TestBackendsByName(t *testing.T) {
	names := servertest.NewNames(t)
	before := net.DefaultResolver
	net.DefaultResolver = names.Resolver()
	t.Cleanup(func() { net.DefaultResolver = before })
	port := servertest.FreePort(t)
	for _, last := range []byte{11, 12, 13} {
		l, err := net.Listen("tcp", net.JoinHostPort(addrOf(last).String(), strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "web%d", last) }))
		srv.Listener.Close()
		srv.Listener = l
		srv.Start()
		t.Cleanup(srv.Close)
	}
	names.SetAddresses("tasks.web", addrOf(11), addrOf(12))
	names.SetAddresses("shop.default.svc.cluster.local", addrOf(11), addrOf(12))
	names.SetAddresses("7f00000b.addr.dc1.consul", addrOf(11))
	names.SetAddresses("7f00000c.addr.dc1.consul", addrOf(12))
	names.SetAddresses("7f00000d.addr.dc2.consul", addrOf(13))
	service := func(name string, priority uint16) net.SRV {
		return net.SRV{Target: name, Port: uint16(port), Priority: priority, Weight: 1}
	}
	names.SetServices("shop.service.consul", service("7f00000b.addr.dc1.consul.", 1), service("7f00000c.addr.dc1.consul.", 1), service("7f00000d.addr.dc2.consul.", 2))
	for _, backends := range []string{
		fmt.Sprintf("http+dns://tasks.web:%d", port),                      // Docker
		fmt.Sprintf("http+dns://shop.default.svc.cluster.local:%d", port), // Kubernetes
		"http+srv://shop.service.consul",                                  // Consul
	} {
		addr, log := startGateway(t, "-backends", backends, "-cache", "0", "-policy", "roundrobin", "-probe", "/healthz")
		seen := make(map[string]bool)
		testkit.Within(t, testkit.Patience, backends+": both serve", func() bool {
			if status, body, err := get(t, "http://"+addr+"/"); status == 200 && err == nil {
				seen[body] = true
			}
			return seen["web11"] && seen["web12"]
		})
		if seen["web13"] {
			t.Errorf("%s: %v; the backup serves though both others do", backends, seen)
		}
		log.Wants(t, "backend is up")
	}
}

func addrOf(last byte) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, last}) }

// TestPHPByName: the containers of php-fpm that a name stands for.
func TestPHPByName(t *testing.T) {
	fpm := servertest.PHPFPM(t, 2)
	names := servertest.NewNames(t)
	before := net.DefaultResolver
	net.DefaultResolver = names.Resolver()
	t.Cleanup(func() { net.DefaultResolver = before })
	names.SetAddresses("php", addrOf(1))
	_, port, _ := strings.Cut(fpm.Addr, ":")
	addr, _ := startGateway(t, "-backends", "fcgi+dns://php:"+port+"?root="+docrootOf(t), "-probe", "/ping")
	testkit.Within(t, testkit.Patience, "a page comes", func() bool {
		status, body, err := get(t, "http://"+addr+"/a")
		return status == 200 && err == nil && strings.HasPrefix(body, "page /a ")
	})
	if _, body, err := get(t, "http://"+addr+"/style.css"); body != "css" || err != nil {
		t.Errorf("%q %v", body, err)
	}
}

func TestWrongNamesSayWhatWouldBeRight(t *testing.T) {
	for args, words := range map[string]string{
		"-backends http+dns://a:1,http://b":                 "want it alone",
		"-backends https+dns://a:1":                         "want http, h2c or fcgi",
		"-backends http+dns://a/shop":                       "want a name and",
		"-backends http+dns://":                             "names no host",
		"-backends http+srv://a:80":                         "an SRV record names the port",
		"-backends fcgi+dns://php?root=/a":                  "want a host and a port",
		"-backends http+ftp://a":                            "want a URL that starts with http://",
		"-backends http://a -admin /x -origin http+dns://b": "the origin is one server",
	} {
		if _, err := parse(strings.Fields(args), io.Discard); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %q", args, err, words)
		}
	}
	if _, err := parseBackends([]byte("http+dns://a:1\n")); err == nil || !strings.Contains(err.Error(), "in place of the file") {
		t.Errorf("a file: %v", err)
	}
}
