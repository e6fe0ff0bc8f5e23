package php

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// decompress takes off what Cm_RedisSession puts around data: a prefix that
// names the method, and the method. The result has at most limit bytes.
func decompress(data []byte, limit int) ([]byte, error) {
	if len(data) < 4 || data[0] != ':' || data[3] != ':' {
		if len(data) > limit {
			return nil, fmt.Errorf("%w: more than %d bytes", ErrEncoding, limit)
		}
		return data, nil
	}
	methods := map[string]func([]byte, int) ([]byte, error){
		":gz:": unzip, ":lz:": unLZF, ":l4:": unLZ4, ":sn:": unSnappy,
	}
	method := methods[string(data[:4])]
	if method == nil {
		return nil, fmt.Errorf("%w: compression %q", ErrEncoding, data[:4])
	}
	out, err := method(data[4:], limit)
	if err != nil {
		return nil, fmt.Errorf("%w: %s %w", ErrEncoding, data[:4], err)
	}
	return out, nil
}

var (
	errCorrupt = errors.New("data is corrupt")
	errLarge   = errors.New("data is too large")
)

// unzip undoes gzcompress: zlib, RFC 1950.
func unzip(in []byte, limit int) ([]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(in))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(out) > limit {
		err = errLarge
	}
	return out, err
}

// An unpacker undoes one of the kin of LZ77: literals, and copies of what was
// written before.
type unpacker struct {
	in, out []byte
	limit   int
}

// literal moves n bytes from in to out.
func (u *unpacker) literal(n int) error {
	switch {
	case n > len(u.in):
		return errCorrupt
	case len(u.out)+n > u.limit:
		return errLarge
	}
	u.out = append(u.out, u.in[:n]...)
	u.in = u.in[n:]
	return nil
}

// copy repeats n bytes from back bytes before the end of out, which may
// overlap.
func (u *unpacker) copy(back, n int) error {
	switch {
	case back < 1 || back > len(u.out):
		return errCorrupt
	case len(u.out)+n > u.limit:
		return errLarge
	}
	for range n {
		u.out = append(u.out, u.out[len(u.out)-back])
	}
	return nil
}

// byte takes one byte off in.
func (u *unpacker) byte() (int, error) {
	if len(u.in) == 0 {
		return 0, errCorrupt
	}
	b := u.in[0]
	u.in = u.in[1:]
	return int(b), nil
}

// unLZF undoes lzf_compress: a control byte below 32 is followed by that many
// literals and one; else its top three bits are a length and the rest, with
// another byte, a distance.
func unLZF(in []byte, limit int) ([]byte, error) {
	u := unpacker{in: in, limit: limit}
	for len(u.in) > 0 {
		control, err := u.byte()
		if err != nil {
			return nil, err
		}
		if control < 32 {
			if err := u.literal(control + 1); err != nil {
				return nil, err
			}
			continue
		}
		n := control >> 5
		if n == 7 {
			more, err := u.byte()
			if err != nil {
				return nil, err
			}
			n += more
		}
		low, err := u.byte()
		if err != nil {
			return nil, err
		}
		if err := u.copy((control&31)<<8+low+1, n+2); err != nil {
			return nil, err
		}
	}
	return u.out, nil
}

// unLZ4 undoes lz4_compress: the length in four bytes, then an LZ4 block.
func unLZ4(in []byte, limit int) ([]byte, error) {
	if len(in) < 4 {
		return nil, errCorrupt
	}
	want := binary.LittleEndian.Uint32(in)
	if uint64(want) > uint64(limit) {
		return nil, errLarge
	}
	out, err := unLZ4Block(in[4:], int(want))
	if err == nil && len(out) != int(want) {
		err = errCorrupt
	}
	return out, err
}

// unLZ4Block reads sequences: a token with two lengths, literals, and but for
// the last a distance of two bytes.
func unLZ4Block(in []byte, limit int) ([]byte, error) {
	u := unpacker{in: in, limit: limit}
	for {
		token, err := u.byte()
		if err != nil {
			return nil, err
		}
		n, err := u.lz4Length(token >> 4)
		if err != nil {
			return nil, err
		}
		if err := u.literal(n); err != nil {
			return nil, err
		}
		if len(u.in) == 0 {
			return u.out, nil
		}
		if len(u.in) < 2 {
			return nil, errCorrupt
		}
		back := int(binary.LittleEndian.Uint16(u.in))
		u.in = u.in[2:]
		if n, err = u.lz4Length(token & 15); err != nil {
			return nil, err
		}
		if err := u.copy(back, n+4); err != nil {
			return nil, err
		}
	}
}

// lz4Length adds to a length of 15 the bytes that follow, up to one below 255.
func (u *unpacker) lz4Length(n int) (int, error) {
	if n < 15 {
		return n, nil
	}
	for {
		more, err := u.byte()
		if err != nil {
			return 0, err
		}
		if n += more; n > u.limit {
			return 0, errLarge
		}
		if more < 255 {
			return n, nil
		}
	}
}

// unSnappy undoes snappy_compress: the length as a varint, then elements whose
// lowest two bits say what they are.
func unSnappy(in []byte, limit int) ([]byte, error) {
	want, n := binary.Uvarint(in)
	switch {
	case n <= 0:
		return nil, errCorrupt
	case want > uint64(limit):
		return nil, errLarge
	}
	u := unpacker{in: in[n:], limit: int(want)}
	for len(u.in) > 0 {
		if err := u.snappyElement(); err != nil {
			return nil, err
		}
	}
	if len(u.out) != int(want) {
		return nil, errCorrupt
	}
	return u.out, nil
}

func (u *unpacker) snappyElement() error {
	tag, err := u.byte()
	if err != nil {
		return err
	}
	switch tag & 3 {
	case 0: // literals: how many in the tag, or in 1 to 4 bytes after it
		n := tag >> 2
		if n >= 60 {
			if n, err = u.little(n - 59); err != nil {
				return err
			}
		}
		if n >= u.limit {
			return errLarge
		}
		return u.literal(n + 1)
	case 1:
		low, err := u.byte()
		if err != nil {
			return err
		}
		return u.copy(tag>>5<<8|low, tag>>2&7+4)
	case 2:
		back, err := u.little(2)
		if err != nil {
			return err
		}
		return u.copy(back, tag>>2+1)
	}
	back, err := u.little(4)
	if err != nil {
		return err
	}
	return u.copy(back, tag>>2+1)
}

// little reads a number of n bytes, the lowest first.
func (u *unpacker) little(n int) (v int, err error) {
	for i := range n {
		b, err := u.byte()
		if err != nil {
			return 0, err
		}
		v |= b << (8 * i)
	}
	return v, nil
}
