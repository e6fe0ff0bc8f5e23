package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"sync"
)

const (
	minKey  = 32 // bytes
	macSize = 16 // bytes of HMAC-SHA256 that are kept
)

// encoding is strict, so that one pin has one cookie.
var encoding = base64.RawURLEncoding.Strict()

// A seal makes cookies that only its keys can make or read: an HMAC-SHA256 over
// the cookie's name and the pin, which is also where AES-CTR starts hiding the
// pin. So the same pin makes the same cookie, and no random number can be used
// twice.
type seal struct {
	name           string
	with, previous *keys // previous may be nil
}

type keys struct {
	macs sync.Pool // of hash.Hash: setting one up costs more than using it
	hide cipher.Block
}

func newSeal(name string, key, previous []byte) *seal {
	s := &seal{name: name, with: newKeys(key)}
	if previous != nil {
		s.previous = newKeys(previous)
	}
	return s
}

// newKeys derives two independent keys from one.
func newKeys(key []byte) *keys {
	hide, err := aes.NewCipher(derive(key, "hide"))
	if err != nil {
		panic(err) // a key of 32 bytes is one of AES-256's
	}
	mac := derive(key, "mac")
	return &keys{macs: sync.Pool{New: func() any { return hmac.New(sha256.New, mac) }}, hide: hide}
}

func derive(key []byte, purpose string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("session.Sticky " + purpose))
	return h.Sum(nil)
}

func (k *keys) sum(name string, plain []byte) []byte {
	h := k.macs.Get().(hash.Hash)
	defer k.macs.Put(h)
	h.Reset()
	h.Write([]byte(name))
	h.Write([]byte{0})
	h.Write(plain)
	return h.Sum(make([]byte, 0, sha256.Size))[:macSize]
}

// close returns p as a cookie's value.
func (s *seal) close(p pin) string {
	plain := p.encode()
	out := append(s.with.sum(s.name, plain), plain...)
	cipher.NewCTR(s.with.hide, out[:macSize]).XORKeyStream(out[macSize:], plain)
	return encoding.EncodeToString(out)
}

// open returns the pin in a cookie's value.
func (s *seal) open(value string) (pin, sent) {
	if !isBase64URL(value) { // the decoder would skip line ends, strict or not
		return pin{}, pinInvalid
	}
	b, err := encoding.DecodeString(value)
	if err != nil || len(b) <= macSize || len(b) > 1024 {
		return pin{}, pinInvalid
	}
	if p, ok := s.with.open(s.name, b); ok {
		return p, pinGood
	}
	if s.previous != nil {
		if p, ok := s.previous.open(s.name, b); ok {
			return p, pinPrevious
		}
	}
	return pin{}, pinInvalid
}

func (k *keys) open(name string, b []byte) (pin, bool) {
	plain := make([]byte, len(b)-macSize)
	cipher.NewCTR(k.hide, b[:macSize]).XORKeyStream(plain, b[macSize:])
	if !hmac.Equal(k.sum(name, plain), b[:macSize]) {
		return pin{}, false
	}
	return decodePin(plain)
}
