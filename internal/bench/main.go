//go:build linux

// Bench measures the gateway beside nginx, HAProxy, Varnish, Caddy and bare loops,
// on this machine, over loopback:
//
//	make bench                              all of it, about half an hour
//	make bench BENCH="-run hit"             what a regular expression finds
//	make bench BENCH="-quick"               whether it all runs, printed; worthless figures
//	make profile                            where the gateway spends its time, for the compiler
//
// It needs a machine with two CPUs that do nothing else: the server that is
// measured has one, load and origin the other. Every load is sent to each
// contender in turn, in several rounds, and figures are compared within a round:
// the machine is not as fast in the next. BENCHMARKS.md is made from
// results/figures.json, in which a run replaces the workloads that it has measured.
//
// It is a module of its own, so that those who use Foretier do not depend on it.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/foretier/foretier/internal/bench/load"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	if len(os.Args) == 2 && os.Args[1] == "load" { // itself, as a load
		if err := load.Main(os.Stdin, os.Stdout); err != nil {
			log.Fatal(err)
		}
		return
	}
	b := new(bench)
	only := flag.String("run", "", "`REGEXP` of the workloads to run (empty: all)")
	flag.IntVar(&b.rounds, "rounds", 5, "`NUMBER` of times that each contender has its turn")
	flag.DurationVar(&b.time, "time", 2*time.Second, "`TIME` of a load, in whole seconds")
	quick := flag.Bool("quick", false, "one short round, to see that all runs; it prints what it finds, and -o is left alone")
	out := flag.String("o", "", "`FILE` to write, such as BENCHMARKS.md (empty: standard output)")
	cpus := flag.String("cpus", "0,1", "`CPU,CPU` of the server, of load and origin")
	list := flag.Bool("list", false, "only name the workloads")
	profile := flag.String("profile", "", "measure nothing: write where the gateway spends its time into `FILE`, for the compiler")
	render := flag.Bool("render", false, "measure nothing: write the file from the figures that are there")
	flag.Parse()
	b.short, b.pages, b.idleConns, b.idleTime = time.Second, 100_000, 10_000, time.Minute
	if *quick {
		b.rounds, b.time, b.short = 1, time.Second, 200*time.Millisecond
		b.pages, b.idleConns, b.idleTime = 2000, 1000, time.Second
		*out = ""
	}
	if _, err := fmt.Sscanf(*cpus, "%d,%d", &b.serverCPU, &b.loadCPU); err != nil || flag.NArg() > 0 || b.rounds < 1 || b.time < time.Second || b.time%time.Second != 0 {
		flag.Usage()
		os.Exit(2)
	}
	what, err := regexp.Compile(*only)
	if err != nil {
		log.Fatal(err)
	}
	var run []*workload
	for i := range workloads {
		if what.MatchString(workloads[i].name) {
			run = append(run, &workloads[i])
		}
	}
	if *list {
		for _, w := range run {
			fmt.Printf("%-16s %s: %s\n", w.name, w.group, w.title)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *profile != "" {
		if err := b.profile(ctx, *profile); err != nil {
			log.Fatal(err)
		}
		return
	}
	if *render {
		run = nil
	}
	if err := b.all(ctx, run, *out, *quick); err != nil {
		log.Fatal(err)
	}
}

// all runs workloads and writes the report, after each: who is interrupted keeps
// what is measured.
func (b *bench) all(ctx context.Context, run []*workload, out string, quick bool) error {
	if err := b.locate(); err != nil {
		return err
	}
	figures, err := readFigures()
	if err != nil {
		return err
	}
	if out == "" {
		figures = Figures{} // only what is measured now
	}
	write := func() error { return report(figures, out) }
	if len(run) == 0 {
		return write()
	}
	defer b.close()
	if err := b.build(ctx); err != nil {
		return err
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil && !strings.HasPrefix(string(text), "0.") {
		log.Printf("this machine is busy, so figures will be worth little: load average %s", text[:4])
	}
	begun := time.Now()
	var failed []string
	for i, w := range run {
		log.Printf("%3d s, %d of %d: %s", int(time.Since(begun).Seconds()), i+1, len(run), w.name)
		res, err := b.measure(ctx, w)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		res.Quick = quick
		for _, row := range res.Rows {
			if row.Failed != "" {
				failed = append(failed, w.name+": "+row.Name)
			}
		}
		figures.put(res, b.machine)
		if out != "" {
			if err := write(); err != nil {
				return err
			}
		}
	}
	log.Printf("%3d s, done", int(time.Since(begun).Seconds()))
	if err := write(); err != nil {
		return err
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, "; "))
	}
	return nil
}
