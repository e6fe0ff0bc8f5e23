package cache

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// wireVersion is of the form below. A gateway that reads one that it does not know
// takes it for a gap: it cannot know what has been invalidated.
const wireVersion = 1

// A wire is a matcher as other gateways read it. Tags go as hashes, and URLs in the
// form in which they are named: gateways on one feed have the same [Rules]. A name may
// hold any bytes, which no text of JSON does.
type wire struct {
	Version int      `json:"v"`
	From    string   `json:"from"`           // of the cache that has applied it already
	ID      uint64   `json:"id,omitzero"`    // by which that one knows it when it comes back
	Waits   bool     `json:"waits,omitzero"` // somebody waits until all have applied it
	Tags    []uint64 `json:"tags,omitempty"`
	URL     []byte   `json:"url,omitempty"`
	Host    []byte   `json:"host,omitempty"`
	Ports   bool     `json:"ports,omitzero"`
	Prefix  []byte   `json:"prefix,omitempty"`
	Below   bool     `json:"below,omitzero"`
	All     bool     `json:"all,omitzero"`
	Hard    bool     `json:"hard,omitzero"`
}

// encode returns m for the feed.
func encode(m matcher, from string, id uint64, waits bool) ([]byte, error) {
	return json.Marshal(wire{
		Version: wireVersion, From: from, ID: id, Waits: waits,
		Tags: m.tags, URL: []byte(m.url), Host: []byte(m.host), Ports: m.ports, Prefix: []byte(m.prefix), Below: m.below, All: m.all, Hard: m.hard,
	})
}

// decode reads what encode made.
func decode(data []byte) (wire, error) {
	var w wire
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return w, fmt.Errorf("cache: an entry of the feed: %w", err)
	}
	if w.Version != wireVersion {
		return w, fmt.Errorf("cache: an entry of the feed has version %d, not %d", w.Version, wireVersion)
	}
	return w, nil
}

// own returns by what the cache that calls itself so knows it, or zero.
func (w *wire) own(self string) uint64 {
	if w.From != self {
		return 0
	}
	return w.ID
}

func (w *wire) matcher() matcher {
	return matcher{tags: w.Tags, url: string(w.URL), host: string(w.Host), ports: w.Ports, prefix: string(w.Prefix), below: w.Below, all: w.All, hard: w.Hard}
}
