// Command simulator plays the policies of package balancer, and those of its
// peers, through scenarios on a virtual clock:
//
//	go run ./balancer/internal/simulator [-seeds 5] [-only S2] [-svg DIRECTORY]
//
// Ours run with the package's own figures and package health's trackers, as in
// a pool: passive ejection, slow start, rescue. The peers' policies run with
// the same probes and the same retry elsewhere, without passive ejection,
// which they have in other forms or not at all. Each server does four requests
// at once, each 50 ms on average (log-normal, coefficient of variation 1);
// requests come as a Poisson process. The same seed gives the same table.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

func main() {
	seeds := flag.Int("seeds", 5, "runs of each scenario")
	one := flag.String("only", "", "the one `SCENARIO` to play")
	svg := flag.String("svg", "", "`DIRECTORY` for a picture of each scenario")
	flag.Parse()
	for _, sc := range scenarios {
		if *one != "" && *one != sc.id {
			continue
		}
		results := sc.compare(*seeds)
		table(os.Stdout, sc, results)
		if *svg != "" {
			if err := os.WriteFile(filepath.Join(*svg, sc.id+".svg"), []byte(picture(sc, results)), 0o644); err != nil {
				log.Fatal(err)
			}
		}
	}
	if *one == "" || *one == "S9" {
		keys(os.Stdout)
	}
}

// compare plays the scenario with each contender, as many runs at once as
// there are processors.
func (sc scenario) compare(seeds int) []*stats {
	runs := make([][]*stats, len(contenders))
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, who := range contenders {
		runs[i] = make([]*stats, seeds)
		for seed := range seeds {
			wg.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				runs[i][seed] = sc.play(who, uint64(seed+1))
			})
		}
	}
	wg.Wait()
	out := make([]*stats, len(runs))
	for i := range runs {
		out[i] = merge(runs[i])
	}
	return out
}

func table(w io.Writer, sc scenario, results []*stats) {
	fmt.Fprintf(w, "\n%s  %s\n%-20s %8s %8s %8s %8s %8s %9s %8s %8s\n", sc.id, sc.title,
		"ms", "p50", "p99", "p99.9", ">1s %", "errors %", "attempts", "bad", "max/mean")
	for i, who := range contenders {
		s := results[i]
		fmt.Fprintf(w, "%-20s %8.1f %8.1f %8.1f %8.3f %8.3f %9.3f %8d %8.2f\n", who.name,
			ms(s.quantile(.5)), ms(s.quantile(.99)), ms(s.quantile(.999)), 100*s.over(time.Second), 100*s.errors(),
			float64(s.attempts)/float64(s.asked), s.bad, s.balance())
	}
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }
