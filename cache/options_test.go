package cache

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestBadOptions(t *testing.T) {
	for name, opts := range map[string]Options{
		"name": {Name: "a b"}, "small": {MaxBytes: 1}, "body": {MaxBody: -1}, "wait": {Wait: -1}, "fetch": {Fetch: -1}, "orders": {Orders: make([]netip.Prefix, 1)},
		"orders of both families": {Orders: []netip.Prefix{netip.MustParsePrefix("::ffff:0.0.0.0/90")}},
	} {
		if _, err := New(opts); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDefaults(t *testing.T) {
	opts, err := Options{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(opts.Name, opts.MaxBytes>>20, opts.MaxBody>>20, opts.Grace, opts.ErrorGrace, opts.Keep, opts.Wait, opts.Fetch)
	if want := "Foretier256 16 10s 24h0m0s 5m0s 10s 1m0s"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	opts, err = Options{Grace: -1, ErrorGrace: -1, Keep: -1, MaxBytes: 32 << 20}.withDefaults()
	if err != nil || opts.Grace != 0 || opts.ErrorGrace != 0 || opts.Keep != 0 || opts.MaxBody != 2<<20 {
		t.Errorf("negative means never: %+v, %v", opts, err)
	}
}
