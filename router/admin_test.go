package router

import (
	"net/http"
	"net/url"
	"testing"
)

// Servers that trim segments, as some file systems and frameworks do, read
// these as the page itself.
func TestAdminBehindBlanks(t *testing.T) {
	admin := Admin("/admin", "/shop/setup").Except("/admin/ping")
	for sent, want := range map[string]bool{
		"/%20admin":           true,
		"/%20%20admin/login":  true,
		"/%20/admin":          true,
		"/%20/%20/%20admin":   true,
		"/+admin":             true,
		"/%2520ADMIN":         true,
		"/%C2%A0admin":        true, // no-break space
		"/%A0admin":           true, // the same in Latin-1
		"/%E3%80%80admin":     true, // ideographic space
		"/%EF%BB%BFadmin":     true, // byte order mark
		"/%E2%80%8Badmin":     true, // zero width space
		"/%C3%A9admin":        false,
		"/%20shop/%20setup":   true,
		"/shop/%20/setup":     true,
		"/index.php/%20admin": true,
		"/%20admin/ping":      true, // the exception is for what is written as it says
		"/admin/ping":         false,
		"/%20administrator":   false,
		"/x%20admin":          false,
		"/x/%20admin":         false,
		"/%20":                false,
		"/%20shop/setups":     false,
	} {
		u, err := url.ParseRequestURI(sent)
		if err != nil {
			t.Fatal(err)
		}
		r := &http.Request{Method: "GET", Host: "shop.example", RequestURI: sent, URL: u, Header: http.Header{}}
		if got := admin.Match(r); got != want {
			t.Errorf("%s: got %t, want %t", sent, got, want)
		}
	}
	// A prefix that begins with one means itself too.
	plus := Admin("/+staff")
	for sent, want := range map[string]bool{"/+staff": true, "/%20+staff": true, "/%2bSTAFF/x": true, "/staff": false} {
		u, err := url.ParseRequestURI(sent)
		if err != nil {
			t.Fatal(err)
		}
		if got := plus.Match(&http.Request{RequestURI: sent, URL: u}); got != want {
			t.Errorf("%s: got %t, want %t", sent, got, want)
		}
	}
}

// A matcher that no table has checked does not panic over a request.
func TestAdminUnchecked(t *testing.T) {
	r := &http.Request{RequestURI: "/%20x", URL: &url.URL{Path: "/ x", RawPath: "/%20x"}}
	if !Admin("/").Match(r) || Admin().Match(r) {
		t.Error("the root is not above everything, or nothing is above something")
	}
}
