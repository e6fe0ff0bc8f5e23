package router

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
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

// A path of many scripts is not looked through, but taken for admin; one of as
// many as anybody has is judged by what it says.
func TestManyScripts(t *testing.T) {
	admin := Admin("/admin").Except("/admin/ajax.php", "/admin/public/*")
	for path, want := range map[string]bool{
		strings.Repeat("/a.php", 30):                        false,
		strings.Repeat("/a.php", 30) + "/admin":             true,
		strings.Repeat("/a.php", 40):                        true,
		strings.Repeat("/a.php;x", 40):                      true,
		strings.Repeat("/a.php", 1300) + "/admin":           true,
		"/admin/public" + strings.Repeat("/a.php", 40):      true, // not excepted
		"/admin/public/a.php":                               false,
		"/shop" + strings.Repeat("/a", 1300) + "/index.php": false,
	} {
		r := httptest.NewRequest("GET", path, nil)
		if got := admin.Match(r); got != want {
			t.Errorf("%.40s (%d bytes): %t", path, len(path), got)
		}
	}
}
