package target

import (
	"net/url"
	"testing"

	"github.com/foretier/foretier/internal/fields"
)

// What passes as a target and a host is one for the standard library too.
func FuzzValid(f *testing.F) {
	f.Add("/a?b", "shop.example")
	f.Add("http://shop.example/a", "[::1]:80")
	f.Add("http://a@b/", "a:80:80")
	f.Add("http://[::1]/", "[0]")
	f.Fuzz(func(t *testing.T, target, host string) {
		if fields.Host(host) {
			if u, err := url.Parse("http://" + host + "/"); err != nil || u.Host != host || u.User != nil {
				t.Errorf("host %q: %+v, %v", host, u, err)
			}
		}
		u, err := url.ParseRequestURI(target)
		if err != nil || !Valid(target) {
			return // somebody refuses it
		}
		if u.Host != "" && !fields.Host(u.Host) || u.User != nil || u.Opaque != "" {
			t.Errorf("target %q: %+v", target, u)
		}
	})
}
