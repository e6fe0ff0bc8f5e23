package main

import (
	"fmt"
	"math/rand/v2"
)

const pages = 20_000

// made are traces of kinds that a policy may be bad at. Each is the same every
// time.
var made = map[string]func(*rand.Rand) []request{
	"shop":    shopDay,
	"recency": recency,
	"shift":   shift,
	"loop":    loop,
	"twice":   twice,
}

// page is a request for one of the pages, each with a size of its own.
func page(n uint64) request {
	return request{fmt.Sprint("page/", n), 2_000 + int(n*2_654_435_761%60_000)}
}

// shopDay is product pages and pictures by popularity, and a crawler that asks
// for everything once.
func shopDay(random *rand.Rand) (trace []request) {
	zipf := rand.NewZipf(random, 1.05, 20, pages-1)
	crawler := uint64(0)
	for range 300_000 {
		n := zipf.Uint64()
		if random.IntN(5) == 0 {
			n = crawler % pages
			crawler++
		}
		trace = append(trace, page(n))
	}
	return trace
}

// recency is what LRU is made for: the longer ago a page was asked for, the
// less likely it is asked for again.
func recency(random *rand.Rand) (trace []request) {
	var stack []uint64 // latest last
	next := uint64(0)
	for range 200_000 {
		n := next
		if random.IntN(5) == 0 || len(stack) == 0 {
			next++
		} else {
			i := max(0, len(stack)-1-int(random.ExpFloat64()*800))
			n = stack[i]
			stack = append(stack[:i], stack[i+1:]...)
		}
		stack = append(stack, n)
		trace = append(trace, page(n))
	}
	return trace
}

// shift is a popularity that moves: campaigns end and others begin.
func shift(random *rand.Rand) (trace []request) {
	zipf := rand.NewZipf(random, 1.05, 20, pages-1)
	rank := random.Perm(pages)
	for range 15 {
		for range 20_000 {
			trace = append(trace, page(uint64(rank[zipf.Uint64()])))
		}
		for range 600 {
			i, j := random.IntN(2000), random.IntN(pages)
			rank[i], rank[j] = rank[j], rank[i]
		}
	}
	return trace
}

// loop is popular pages, and as many requests that go round and round through
// others: a monitor, a feed.
func loop(random *rand.Rand) (trace []request) {
	zipf := rand.NewZipf(random, 1.05, 20, pages-1)
	for i := range uint64(200_000) {
		n := zipf.Uint64()
		if i%2 == 0 {
			n = pages + i/2%2600
		}
		trace = append(trace, page(n))
	}
	return trace
}

// twice is popular pages, and pages that are asked for once more a while later
// and then no more: a result list, and back to it.
func twice(random *rand.Rand) (trace []request) {
	zipf := rand.NewZipf(random, 1.05, 20, pages-1)
	later := make(map[int][]uint64)
	next := uint64(pages)
	for i := range 200_000 {
		for _, n := range later[i] {
			trace = append(trace, page(n))
		}
		if random.IntN(10) < 3 {
			trace = append(trace, page(next))
			at := i + 50 + random.IntN(3000)
			later[at] = append(later[at], next)
			next++
			continue
		}
		trace = append(trace, page(zipf.Uint64()))
	}
	return trace
}
