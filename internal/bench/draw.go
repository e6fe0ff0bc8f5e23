//go:build linux

package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Pictures follow the reader's choice of light or dark; the bars' colours are read on
// both.
const style = `<style>
text { fill: #1f2328 } .dim { fill: #59636e } .line { stroke: #59636e; stroke-width: 1 } .back { fill: #ffffff }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .dim { fill: #9198a1 } .line { stroke: #9198a1 } .back { fill: #0d1117 } }
</style>
`

var colors = map[string]string{
	loop.name: "#8b949e", nginx.name: "#3b82c4", haproxy.name: "#8a63d2", varnish.name: "#c2843b", caddy.name: "#c2577a", ours.name: "#1a9e6c",
}

// color is that of a contender; its further setups have it paler.
func color(name string) (fill string, opacity float64) {
	if c, ok := colors[name]; ok {
		return c, 1
	}
	for base, c := range colors {
		if strings.HasPrefix(name, base) {
			return c, .55
		}
	}
	return "#8b949e", 1
}

const (
	left  = 150 // of the bars
	wide  = 470
	row   = 18
	image = 720
)

// A canvas grows downwards.
type canvas struct {
	strings.Builder
	y int
}

func (c *canvas) text(x, y int, class, anchor, text string) {
	fmt.Fprintf(c, `<text x="%d" y="%d" class="%s" text-anchor="%s">%s</text>`+"\n", x, y, class, anchor, html.EscapeString(text))
}

func (c *canvas) svg() string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", image, c.y+10) +
		style + fmt.Sprintf(`<rect class="back" width="%d" height="%d"/>`+"\n", image, c.y+10) + c.String() + "</svg>\n"
}

// draw makes a picture of a group: for each workload how many requests each
// contender does for a second of its CPU, nginx being 1. It is empty if there is
// nothing to draw.
func draw(f Figures, group string) string {
	type bar struct {
		name string
		quartiles
	}
	bars := make(map[string][]bar)
	most := 1.0
	for _, w := range workloads {
		r, ok := f.of(w.name)
		if !ok || w.group != group {
			continue
		}
		for _, x := range r.Rows {
			q := spread(ratios(x.perCPU(), r.row(nginx.name).perCPU()))
			if !math.IsNaN(q.median) {
				bars[w.name] = append(bars[w.name], bar{x.Name, q})
				most = max(most, q.high)
			}
		}
	}
	if len(bars) == 0 {
		return ""
	}
	c := &canvas{y: 22}
	c.text(left, c.y, "dim", "start", "requests for a second of CPU, nginx = 1; lines from quartile to quartile")
	scale := func(x float64) float64 { return x / most * wide }
	for _, w := range workloads {
		if len(bars[w.name]) == 0 || w.group != group {
			continue
		}
		c.y += 26
		c.text(10, c.y, "", "start", w.name+": "+w.title)
		c.y += 6
		top := c.y
		for _, b := range bars[w.name] {
			fill, opacity := color(b.name)
			c.text(left-6, c.y+13, "", "end", b.name)
			fmt.Fprintf(c, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s" opacity="%g"/>`+"\n", left, c.y+2, scale(b.median), row-5, fill, opacity)
			fmt.Fprintf(c, `<line class="line" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`+"\n", left+scale(b.low), left+scale(b.high), c.y+8, c.y+8)
			c.text(left+6+int(scale(b.high)), c.y+13, "", "start", short(b.median))
			c.y += row
		}
		fmt.Fprintf(c, `<line class="line" stroke-dasharray="2 3" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`+"\n", left+scale(1), left+scale(1), top, c.y)
	}
	return c.svg()
}

// drawLatencies makes a picture of the latencies at half load, on a logarithmic
// scale: from the median to the 99th and the 99.9th percentile.
func drawLatencies(f Figures) string {
	least, most := math.Inf(1), 0.0
	at := func(x Row, of func(Half) float64) float64 { return spread(each(x.Halves, of)).median }
	p50, p99, p999 := func(h Half) float64 { return h.P50 }, func(h Half) float64 { return h.P99 }, func(h Half) float64 { return h.P999 }
	for _, w := range workloads {
		r, _ := f.of(w.name)
		for _, x := range r.Rows {
			if len(x.Halves) > 0 {
				least, most = min(least, at(x, p50)), max(most, at(x, p999))
			}
		}
	}
	if most == 0 || least <= 0 || least == most {
		return ""
	}
	c := &canvas{y: 22}
	c.text(left, c.y, "dim", "start", "at half of its own saturation, µs, logarithmic: median to p99 (dark) and p99.9")
	scale := func(x float64) float64 { return left + (wide-90)*math.Log(x/least)/math.Log(most/least) }
	for _, w := range workloads {
		r, ok := f.of(w.name)
		if !ok || !w.latency {
			continue
		}
		c.y += 26
		c.text(10, c.y, "", "start", w.name+": "+w.title)
		c.y += 6
		for _, x := range r.Rows {
			if len(x.Halves) == 0 {
				continue
			}
			fill, _ := color(x.Name)
			a, b, d := scale(at(x, p50)), scale(at(x, p99)), scale(at(x, p999))
			c.text(left-6, c.y+13, "", "end", x.Name)
			fmt.Fprintf(c, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s" opacity=".45"/>`+"\n", a, c.y+2, max(1, d-a), row-5, fill)
			fmt.Fprintf(c, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", a, c.y+2, max(1, b-a), row-5, fill)
			c.text(int(d)+6, c.y+13, "", "start", whole(at(x, p50))+" / "+whole(at(x, p99))+" / "+whole(at(x, p999)))
			c.y += row
		}
	}
	return c.svg()
}
