//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/google/pprof/profile"
)

// profiled are the workloads that the gateway's profile is made of: what it does most, by
// each way that it does it.
var profiled = regexp.MustCompile(`^(hit-1k|hit-browser|hit-zipf|proxied-1k|proxied-20k|post-10k|log-proxied-1k|tls-hit-1k|tls-proxied-1k|h2-hit-1k|h2-proxied-1k|shop)$`)

// profileTime is how long each is profiled.
const profileTime = 5 * time.Second

// profile writes where the gateway spends its time into a file that the compiler reads
// (https://go.dev/doc/pgo). It says nothing of this machine but that.
func (b *bench) profile(ctx context.Context, file string) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	if err := b.locate(); err != nil {
		return err
	}
	defer b.close()
	if err := b.build(ctx); err != nil {
		return err
	}
	var all []*profile.Profile
	for i := range workloads {
		w := &workloads[i]
		if !profiled.MatchString(w.name) {
			continue
		}
		log.Print(w.name)
		p, err := b.profileOf(ctx, w)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		all = append(all, p)
	}
	sum, err := profile.Merge(all)
	if err != nil {
		return err
	}
	for _, f := range sum.Function {
		f.Filename = "" // the compiler goes by names, and lines within a function
	}
	for _, m := range sum.Mapping {
		m.File, m.BuildID = "", ""
	}
	sum.TimeNanos = 0
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(sum.Write(out), out.Close())
}

// profileOf profiles one workload.
func (b *bench) profileOf(ctx context.Context, w *workload) (*profile.Profile, error) {
	c, err := b.open(ctx, ours, w, b.counting, true)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if err := b.warm(ctx, c, w); err != nil {
		return nil, err
	}
	name := filepath.Join(c.dir, "profile")
	if err := c.count.tell(name); err != nil {
		return nil, err
	}
	if _, err := w.load(b, ctx, c, c.asked, profileTime); err != nil {
		return nil, err
	}
	if err := c.count.tell(name); err != nil {
		return nil, err
	}
	in, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return profile.Parse(in)
}

// tell has the gateway begin to profile into a file, or end that.
func (c *counter) tell(name string) error {
	if _, err := fmt.Fprintln(c.ask, name); err != nil {
		return err
	}
	var heard, said string
	if _, err := fmt.Fscanln(c.say, &heard, &said); err != nil {
		return err
	}
	if said != "<nil>" {
		return fmt.Errorf("no profile: %s", said)
	}
	return nil
}
