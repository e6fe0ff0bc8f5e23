package php

import (
	"bytes"
	"compress/zlib"
	"errors"
	"strings"
	"testing"
)

func zipped(text string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = w.Write([]byte(text)) // into memory
	_ = w.Close()
	return b.String()
}

// The compressed forms of LZF, LZ4 and Snappy were made by hand after their
// descriptions; real_test.go reads what PHP makes of LZF and LZ4.
func TestDecompress(t *testing.T) {
	const text = "abcabcabcabcabc!"
	zeros := strings.Repeat("0", 5000)
	cases := map[string]struct {
		in, want string
		bad      bool
	}{
		"plain":                     {in: text, want: text},
		"plain, short":              {in: ":g", want: ":g"},
		"plain with a colon":        {in: ":ab|i:1;", want: ":ab|i:1;"},
		"too large":                 {in: zeros, bad: true},
		"gzip":                      {in: ":gz:" + zipped(text), want: text},
		"gzip, too large":           {in: ":gz:" + zipped(zeros), bad: true},
		"gzip, cut":                 {in: ":gz:" + zipped(text)[:10], bad: true},
		"gzip, not":                 {in: ":gz:no", bad: true},
		"an unknown method":         {in: ":zs:x", bad: true},
		"lzf":                       {in: ":lz:\x02abc\xe0\x03\x02\x00!", want: text},
		"lzf, literals only":        {in: ":lz:\x02abc", want: "abc"},
		"lzf, from before":          {in: ":lz:\x00a\x20\x05", bad: true},
		"lzf, cut":                  {in: ":lz:\x05abc", bad: true},
		"lzf, cut in a copy":        {in: ":lz:\x00a\x20", bad: true},
		"lzf, too large":            {in: ":lz:\x00a" + strings.Repeat("\xe0\xff\x00", 10), bad: true},
		"lz4":                       {in: ":l4:\x10\x00\x00\x00\x38abc\x03\x00\x10!", want: text},
		"lz4, the length lies":      {in: ":l4:\x11\x00\x00\x00\x38abc\x03\x00\x10!", bad: true},
		"lz4, too large":            {in: ":l4:\xff\xff\xff\xff\x10a", bad: true},
		"lz4, from before":          {in: ":l4:\x10\x00\x00\x00\x10a\x05\x00\x00", bad: true},
		"lz4, distance 0":           {in: ":l4:\x10\x00\x00\x00\x10a\x00\x00\x00", bad: true},
		"lz4, cut":                  {in: ":l4:\x10\x00\x00\x00\x38ab", bad: true},
		"lz4, no length":            {in: ":l4:\x10", bad: true},
		"snappy":                    {in: ":sn:\x10\x08abc\x11\x03\x01\x03\x00!", want: text},
		"snappy, copy of 2 bytes":   {in: ":sn:\x10\x08abc\x2e\x03\x00\x00!", want: text},
		"snappy, copy of 4 bytes":   {in: ":sn:\x10\x08abc\x2f\x03\x00\x00\x00\x00!", want: text},
		"snappy, a long literal":    {in: ":sn:\x40\xf0\x3f" + strings.Repeat("x", 64), want: strings.Repeat("x", 64)},
		"snappy, the length lies":   {in: ":sn:\x11\x08abc\x11\x03\x01\x03\x00!", bad: true},
		"snappy, too large":         {in: ":sn:\xff\xff\xff\x7f\x00a", bad: true},
		"snappy, more than it says": {in: ":sn:\x01\x08abc", bad: true},
		"snappy, cut":               {in: ":sn:\x10\xf4", bad: true},
		"snappy, no length":         {in: ":sn:", bad: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := decompress([]byte(c.in), 1000)
			if (err != nil) != c.bad || err != nil && !errors.Is(err, ErrEncoding) {
				t.Fatalf("error: %v", err)
			}
			if err == nil && string(got) != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func FuzzDecompress(f *testing.F) {
	for _, seed := range []string{
		"plain", ":gz:" + zipped("text"), ":lz:\x02abc\xe0\x03\x02\x00!", ":l4:\x10\x00\x00\x00\x38abc\x03\x00\x10!", ":sn:\x10\x08abc\x11\x03\x01\x03\x00!",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 4096
		out, err := decompress(in, limit)
		if err == nil && len(out) > limit {
			t.Errorf("%d bytes, at most %d", len(out), limit)
		}
	})
}
