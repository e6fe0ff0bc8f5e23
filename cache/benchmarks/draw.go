package main

import (
	"fmt"
	"strings"
)

// draw makes a picture of bars: for each size of cache, the share of objects
// that each policy served.
func draw(rows []row) []byte {
	colors := map[string]string{"Foretier": "#1f6feb", "LRU": "#8b949e", "otter": "#d29922"}
	const width, height, bar, bottom = 640, 300, 28, 260
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", width, height)
	x := 40
	for i, r := range rows {
		if i > 0 && rows[i-1].share != r.share {
			x += 40
		}
		h := int(r.objects * 240)
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`+"\n", x, bottom-h, bar, h, colors[r.name])
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%.1f</text>`+"\n", x+bar/2, bottom-h-4, r.objects*100)
		if r.name == policies[0].name {
			fmt.Fprintf(&b, `<text x="%d" y="%d">cache of %.0f%%</text>`+"\n", x, bottom+16, r.share*100)
		}
		x += bar + 4
	}
	x = 40
	for _, p := range policies {
		fmt.Fprintf(&b, `<rect x="%d" y="8" width="10" height="10" fill="%s"/><text x="%d" y="17">%s</text>`+"\n", x, colors[p.name], x+14, p.name)
		x += 100
	}
	fmt.Fprintf(&b, `<text x="%d" y="17" text-anchor="end">hits, %% of requests</text>`+"\n</svg>\n", width-20)
	return []byte(b.String())
}
