package main

import (
	"fmt"
	"html"
	"math"
	"strings"
	"time"
)

// picture draws the 99th and 99.9th percentiles of each contender, shorter is
// better, on a logarithmic scale. Requests that failed are written beside.
func picture(sc scenario, results []*stats) string {
	const left, width, row, top = 150, 380, 34, 46
	least, most := math.Inf(1), 0.0
	for _, s := range results {
		least, most = min(least, ms(s.quantile(.99))), max(most, ms(s.quantile(.999)))
	}
	least /= 2
	scale := func(d time.Duration) float64 {
		return max(1, width*math.Log(ms(d)/least)/math.Log(most/least))
	}
	var b strings.Builder
	height := top + row*len(results) + 10
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 %d" font-family="sans-serif" font-size="13">`+"\n", height)
	fmt.Fprintf(&b, `<rect width="720" height="%d" fill="#fff"/>`+"\n", height)
	fmt.Fprintf(&b, `<text x="10" y="20" font-size="15" font-weight="bold">%s</text>`+"\n", html.EscapeString(sc.id+": "+sc.title))
	fmt.Fprintf(&b, `<text x="%d" y="38" fill="#666">ms, 99th (dark) and 99.9th percentile, logarithmic</text>`+"\n", left)
	for i, who := range contenders {
		s, y := results[i], top+row*i
		dark, light := "#7a869a", "#c9d0da"
		if who.ours {
			dark, light = "#0b6e4f", "#9fd8c2"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", left-8, y+18, html.EscapeString(who.name))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="22" fill="%s"/>`+"\n", left, y+3, scale(s.quantile(.999)), light)
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="22" fill="%s"/>`+"\n", left, y+3, scale(s.quantile(.99)), dark)
		text := fmt.Sprintf("%.0f / %.0f", ms(s.quantile(.99)), ms(s.quantile(.999)))
		if s.failed > 0 {
			text += fmt.Sprintf(", %.2g%% failed", 100*s.errors())
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" fill="#333">%s</text>`+"\n", left+scale(s.quantile(.999))+6, y+18, text)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
