package law

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestAFixdateIsReadAlike compares the quick reading with that of all forms, over dates,
// and over such as have one byte or two changed.
func TestAFixdateIsReadAlike(t *testing.T) {
	now := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	rnd := rand.New(rand.NewPCG(1, 2))
	const odd = "0123456789 :,-+JFMASONDTWabeghlnoprtuvyGMTZgmt\x00\xff"
	for range 20000 {
		at := time.Unix(rnd.Int64N(253402300800+62167219200)-62167219200, 0).UTC() // the years 0 to 9999
		good := at.Format(imfFixdate)
		if got, ok := fixdate(good); !ok || !got.Equal(at) {
			t.Fatalf("%q: got %v, %t", good, got, ok)
		}
		b := []byte(good)
		for range 1 + rnd.IntN(2) {
			b[rnd.IntN(len(b))] = odd[rnd.IntN(len(odd))]
		}
		got, ok := fixdate(string(b))
		if want, is := anyDate(string(b), now); ok && (!is || got != want) {
			t.Fatalf("%q: got %v, and by all forms %v, %t", b, got, want, is)
		}
	}
	for _, s := range []string{"Mon, 30 Feb 2026 10:00:00 GMT", "Sat, 28 Nov 2026 24:00:00 GMT", "Fri, 28 Nov 2026 10:00:00 GMT", "Sat, 28 anF 2026 10:00:00 GMT"} {
		if _, ok := fixdate(s); ok {
			t.Errorf("%q is read", s)
		}
	}
}
