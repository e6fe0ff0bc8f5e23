package router

import (
	"strings"
	"testing"
)

func TestRedirectsAreBounded(t *testing.T) {
	if moved, err := readRedirects(strings.NewReader("/1,/x\n/2,/x\n"), 2); err != nil || moved.Len() != 2 {
		t.Errorf("two: %v", err)
	}
	_, err := readRedirects(strings.NewReader("#\n/1,/x\n/2,/x\n/3,/x\n"), 2)
	if want := "router: line 4: want 2 redirects at most"; err == nil || err.Error() != want {
		t.Errorf("three: %v, want %s", err, want)
	}
}
