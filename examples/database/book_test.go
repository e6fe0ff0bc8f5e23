package main

import (
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/testkit"
)

// TestOneToMany: what the page starts is started by these flags.
func TestOneToMany(t *testing.T) {
	place, n := strings.NewReplacer("/etc/shop/probe-password", write(t, "password", "a-third\n"), "/var/lib/shop", t.TempDir()), 0
	for _, b := range testkit.Blocks(t, "../../docs/one-to-many.md") {
		line, ok := strings.CutPrefix(b.Text, "database ")
		if !ok {
			continue
		}
		n++
		c, err := parse(strings.Fields(place.Replace(line)), nil)
		if err != nil || len(c.backends) != 2 || c.memory == "" || c.password != "a-third" {
			t.Errorf("%s: %+v, %v", line, c, err)
		}
	}
	if n != 1 {
		t.Errorf("the page starts %d", n)
	}
}
