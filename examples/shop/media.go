package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"maps"
	"sync"
	"time"
)

// docroots are the servers' picture folders. Uploads arrive at the origin's;
// the others get them when the cron job copies them over, as rsync would.
type docroots struct {
	mu      sync.RWMutex
	folders []map[string]picture // guarded by mu; one a server, the origin's first
}

type picture struct {
	data []byte
	when time.Time
}

func newDocroots(servers int) *docroots {
	d := &docroots{folders: make([]map[string]picture, servers)}
	when := time.Now()
	for i := range d.folders {
		d.folders[i] = map[string]picture{
			"logo.png": {draw(color.RGBA{0x1f, 0x6f, 0x8b, 0xff}), when},
			"sale.png": {draw(color.RGBA{0xc0, 0x39, 0x2b, 0xff}), when},
		}
	}
	return d
}

func (d *docroots) open(server int, name string) (picture, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	p, ok := d.folders[server][name]
	return p, ok
}

// upload puts a picture into the origin's folder. An older one of that name
// leaves the other folders, so that nobody serves it any more.
func (d *docroots) upload(name string, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.folders[0][name] = picture{data, time.Now()}
	for _, folder := range d.folders[1:] {
		delete(folder, name)
	}
}

// sync copies the origin's pictures to the other servers.
func (d *docroots) sync() (copied int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, folder := range d.folders[1:] {
		before := len(folder)
		maps.Copy(folder, d.folders[0])
		copied += len(folder) - before
	}
	return copied
}

// draw returns a small picture of one colour.
func draw(c color.Color) []byte {
	img := image.NewPaletted(image.Rect(0, 0, 120, 80), color.Palette{c})
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err) // a constant picture into memory
	}
	return b.Bytes()
}
