package given

import (
	"net/netip"
	"testing"
)

func TestNil(t *testing.T) {
	for name, c := range map[string]struct {
		v          any
		nil, typed bool
	}{
		"nothing":       {nil, true, false},
		"a nil pointer": {(*int)(nil), true, true},
		"a nil func":    {(func())(nil), true, true},
		"a nil slice":   {[]int(nil), false, false}, // which can be of use
		"a pointer":     {new(int), false, false},
		"a func":        {func() {}, false, false},
		"a value":       {0, false, false},
	} {
		if Nil(c.v) != c.nil || Typed(c.v) != c.typed {
			t.Errorf("%s: nil %t, typed %t", name, Nil(c.v), Typed(c.v))
		}
	}
}

func TestPrefixesAreUnmapped(t *testing.T) {
	for in, want := range map[string]string{
		"::ffff:10.0.0.0/104":  "10.0.0.0/8",
		"::ffff:192.0.2.1/128": "192.0.2.1/32",
		"::ffff:0.0.0.0/96":    "0.0.0.0/0",
		"10.0.0.0/8":           "10.0.0.0/8",
		"2001:db8::/32":        "2001:db8::/32",
		"::/0":                 "::/0",
		"::ffff:0:0/90":        "",
	} {
		got, err := Prefixes([]netip.Prefix{netip.MustParsePrefix(in)})
		if (err != nil) != (want == "") || err == nil && got[0].String() != want {
			t.Errorf("%s: got %v, %v, want %s", in, got, err, want)
		}
	}
	if got, err := Prefixes(nil); got != nil || err != nil {
		t.Error("none became some")
	}
	if _, err := Prefixes(make([]netip.Prefix, 1)); err == nil {
		t.Error("the zero Prefix was taken")
	}
}
