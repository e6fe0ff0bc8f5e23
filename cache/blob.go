package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/fields"
)

// blobVersion is of the form below: one that is not known is not read.
const blobVersion = 1

// A blobHead is how the blob of a stored response begins, byte for byte, integers
// little-endian. The texts of the lengths follow, the tags in ascending order, the body
// and a CRC-32C of all that.
//
// It is the same in every process: times are by the clock on the wall, and what only
// one process understands is left out, such as the hash of a name. Of invalidations it
// says up to which one all had been applied, here, before the backend was asked. Those
// behind that are for who reads it to look for. What is in it went by the [Rules] of
// whoever wrote it, by which alone it is to be read.
type blobHead struct {
	Version, Flags uint8
	Status         uint16
	HTTPS          uint8 // 1: yes
	Cost           uint32

	Born, FreshUntil, Grace, ErrorGrace, Keep, Purged int64 // as [memory.Entry] has them

	Applied Position // zero: it is not known what has been

	URL, Head, Parts, Vary, Variant, Tags uint32 // lengths, of Tags the number
}

var (
	blobHeadLen = binary.Size(blobHead{})
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
)

// blobFlags are those that a blob may have: a part is of no use where there is no
// other, and what is in doubt of one is not known.
const blobFlags = memory.Known &^ memory.Part

var errBlob = errors.New("cache: not a stored response, or not a whole one")

// appendBlob appends the blob of e to buf, with what had been applied when the backend
// was asked for it. It is not ok if e is not to leave the process: it is a part, or its
// header cannot be one on the wire, which only a handler in this process can bring
// about.
func appendBlob(buf []byte, e *memory.Entry, applied Position) (blob []byte, ok bool) {
	vary, variant := e.Vary()
	tags := tagsAbroad(e)
	h := blobHead{
		Version: blobVersion, Flags: uint8(e.Flags), Status: e.Status, Cost: e.Cost,
		Born: e.Born, FreshUntil: e.FreshUntil, Grace: e.Grace, ErrorGrace: e.ErrorGrace, Keep: e.Keep, Purged: e.Purged(),
		Applied: applied, Tags: uint32(len(tags)),
	}
	if e.HTTPS {
		h.HTTPS = 1
	}
	texts := [...]string{e.URL, e.Head, e.Parts(), vary, variant}
	total := int64(0)
	for i, n := range [...]*uint32{&h.URL, &h.Head, &h.Parts, &h.Vary, &h.Variant} {
		*n = uint32(len(texts[i]))
		total += int64(len(texts[i]))
	}
	if h.check() != nil || !goodHead(e.Head) || total > math.MaxInt32 {
		return buf, false
	}
	from := len(buf)
	buf = slices.Grow(buf, blobHeadLen+int(total+e.Len())+8*len(tags)+crc32.Size)
	buf, _ = binary.Append(buf, binary.LittleEndian, &h) // it is of a fixed size
	for _, s := range texts {
		buf = append(buf, s...)
	}
	for _, tag := range tags {
		buf = binary.LittleEndian.AppendUint64(buf, tag)
	}
	for _, chunk := range e.Chunks() {
		buf = append(buf, chunk...)
	}
	return binary.LittleEndian.AppendUint32(buf, crc32.Checksum(buf[from:], castagnoli)), true
}

// readBlob returns what appendBlob has made a blob of, which it keeps nothing of, and
// what had been applied. When the backend was asked, in this process's count, is for the
// caller to say. What it reads is what appendBlob makes of the entry again; but what was
// purged later than now, by a clock that is ahead of ours, has been purged now: it would
// else be fresh until then.
func readBlob(blob []byte, now time.Time) (e *memory.Entry, applied Position, err error) {
	end := len(blob) - crc32.Size
	if end < blobHeadLen || crc32.Checksum(blob[:end], castagnoli) != binary.LittleEndian.Uint32(blob[end:]) {
		return nil, 0, errBlob
	}
	var h blobHead
	if _, err := binary.Decode(blob, binary.LittleEndian, &h); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errBlob, err)
	}
	if err := h.check(); err != nil {
		return nil, 0, err
	}
	rest := blob[blobHeadLen:end]
	if h.following() > uint64(len(rest)) {
		return nil, 0, errBlob
	}
	text := func(n uint32) string {
		s := string(rest[:n])
		rest = rest[n:]
		return s
	}
	e = &memory.Entry{
		URL: text(h.URL), Head: text(h.Head), Status: h.Status, HTTPS: h.HTTPS == 1, Flags: memory.Flags(h.Flags), Cost: h.Cost,
		Born: h.Born, FreshUntil: h.FreshUntil, Grace: h.Grace, ErrorGrace: h.ErrorGrace, Keep: h.Keep,
	}
	m := &memory.More{Parts: text(h.Parts), Vary: text(h.Vary), Variant: text(h.Variant)}
	m.Tags = make([]uint64, 0, h.Tags)
	for range h.Tags {
		m.Tags = append(m.Tags, binary.LittleEndian.Uint64(rest))
		rest = rest[8:]
	}
	if !ascend(m.Tags) || !goodHead(e.Head) {
		return nil, 0, errBlob
	}
	if name := nameOf(e.URL); name != e.URL && !slices.Contains(m.Tags, nameTag(name)) {
		m.Tags = append(m.Tags, nameTag(name))
	}
	if m.Parts != "" || m.Vary != "" || m.Variant != "" || len(m.Tags) > 0 {
		e.More = m
	}
	if len(rest) > 0 {
		e.Body = slices.Clone(rest)
	}
	if h.Purged != 0 {
		e.Purge(time.Unix(0, min(h.Purged, now.UnixNano())))
	}
	return e, h.Applied, nil
}

// check reports what no stored response has that leaves its process.
func (h *blobHead) check() error {
	switch {
	case h.Version != blobVersion:
		return fmt.Errorf("%w: it has version %d, not %d", errBlob, h.Version, blobVersion)
	case memory.Flags(h.Flags)&^blobFlags != 0, h.HTTPS > 1, h.Status < 200 || h.Status > 999, h.URL == 0:
		return errBlob
	}
	return nil
}

// following returns how many bytes follow at least, but for the checksum.
func (h *blobHead) following() uint64 {
	n := 8 * uint64(h.Tags)
	for _, text := range [...]uint32{h.URL, h.Head, h.Parts, h.Vary, h.Variant} {
		n += uint64(text)
	}
	return n
}

// tagsAbroad returns the tags of e that another process understands, in ascending order.
func tagsAbroad(e *memory.Entry) []uint64 {
	if e.More == nil || len(e.More.Tags) == 0 {
		return nil
	}
	tags := slices.Clone(e.More.Tags)
	if name := nameOf(e.URL); name != e.URL {
		own := nameTag(name)
		tags = slices.DeleteFunc(tags, func(tag uint64) bool { return tag == own })
	}
	slices.Sort(tags)
	return tags
}

// ascend reports whether tags are in ascending order, each once.
func ascend(tags []uint64) bool {
	for i := 1; i < len(tags); i++ {
		if tags[i] <= tags[i-1] {
			return false
		}
	}
	return true
}

// goodHead reports whether a header is one that may stand on the wire: it is written
// there as it is.
func goodHead(head string) bool {
	for head != "" {
		line, rest, ended := strings.Cut(head, "\r\n")
		name, value, _ := strings.Cut(line, ": ")
		if !ended || !fields.Token(name) || !fields.Value(value) {
			return false
		}
		head = rest
	}
	return true
}
