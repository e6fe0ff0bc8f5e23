// Benchmarks replays request traces through the cache's eviction and through
// others, each within the same bytes, and prints and draws what share of the
// requests and of their bytes each served:
//
//	go run . -trace FILE      lines of time, object, size; FILE may end in .xz
//	go run . -made twice      a made trace: shop, recency, shift, loop or twice
//	go run . -svg hits.svg    a picture of the same
//
// It is a module of its own, so that those who use the cache do not depend on
// what it is compared with.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
)

// A request asks for an object of a size.
type request struct {
	key  string
	size int
}

// A policy is a cache that holds at most so many bytes.
type policy interface {
	// hit reports whether the object is there, and puts it there if not.
	hit(request) bool
}

var policies = []struct {
	name string
	make func(bytes int64) policy
}{
	{"Foretier", newForetier},
	{"LRU", newLRU},
	{"otter", newOtter},
}

var shares = []float64{0.01, 0.05, 0.10, 0.25}

func main() {
	file := flag.String("trace", "", "trace to replay; empty: a made one")
	kind := flag.String("made", "shop", "the made one: shop, recency, shift, loop or twice")
	svg := flag.String("svg", "", "file to draw into")
	flag.Parse()
	trace, err := load(*file, *kind)
	if err != nil {
		log.Fatal(err)
	}
	sizes := make(map[string]int)
	for i, r := range trace {
		if size, ok := sizes[r.key]; ok {
			trace[i].size = size // as at first sight: a change would be a miss
		} else {
			sizes[r.key] = r.size
		}
	}
	var footprint int64
	for _, size := range sizes {
		footprint += int64(size)
	}
	fmt.Printf("%d requests, %d objects, %d MB\n\n", len(trace), len(sizes), footprint>>20)
	fmt.Println("| cache | share of footprint | objects | bytes |\n|---|---|---|---|")
	var rows []row
	for _, share := range shares {
		for _, p := range policies {
			r := replay(trace, p.make(int64(float64(footprint)*share)))
			r.name, r.share = p.name, share
			rows = append(rows, r)
			fmt.Printf("| %s | %.0f%% | %.1f%% | %.1f%% |\n", r.name, share*100, r.objects*100, r.bytes*100)
		}
	}
	if *svg != "" {
		if err := os.WriteFile(*svg, draw(rows), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

// A row is how much one cache of one size served.
type row struct {
	name           string
	share          float64
	objects, bytes float64
}

func replay(trace []request, p policy) row {
	var hits, hitBytes, bytes int64
	for _, r := range trace {
		bytes += int64(r.size)
		if p.hit(r) {
			hits++
			hitBytes += int64(r.size)
		}
	}
	return row{objects: float64(hits) / float64(len(trace)), bytes: float64(hitBytes) / float64(bytes)}
}

func load(file, kind string) ([]request, error) {
	if file == "" {
		make, ok := made[kind]
		if !ok {
			return nil, fmt.Errorf("no made trace is called %q", kind)
		}
		return make(rand.New(rand.NewPCG(1, 2))), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(file, ".xz") {
		cmd := exec.Command("xz", "-dc")
		cmd.Stdin = f
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("xz: %w", err)
		}
		in = strings.NewReader(string(out))
	}
	var trace []request
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var at, key string
		var size int
		if _, err := fmt.Sscan(lines.Text(), &at, &key, &size); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", file, len(trace)+1, err)
		}
		trace = append(trace, request{key, size})
	}
	return trace, nil
}
