//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
)

// Figures are all that has been measured, as it stands in results/figures.json.
type Figures struct {
	Machines []Machine
	Results  []Result
}

// A Result is a workload's, of one run.
type Result struct {
	Name    string
	When    string // a day
	Rounds  int
	Seconds float64 // of a load
	Quick   bool    `json:",omitempty"`
	Machine int     // in Machines
	Rows    []Row
}

// A Machine is what it was measured on, and what.
type Machine struct {
	CPU      string
	CPUs     int
	Kernel   string
	Commit   string
	Versions []string
}

// A Row is an entrant's.
type Row struct {
	Name       string
	Command    string
	Load       string             `json:",omitempty"`
	Failed     string             `json:",omitempty"` // why there are no figures
	Samples    []Sample           `json:",omitempty"` // one a round
	Halves     []Half             `json:",omitempty"` // likewise, at half load
	Calls      map[string]float64 `json:",omitempty"` // system calls a request
	Allocs     float64            `json:",omitempty"` // a request, of the gateway
	AllocBytes float64            `json:",omitempty"`
	Idle       *Idle              `json:",omitempty"`
	Sent       int64              `json:",omitempty"` // bytes of an answer's body, if that is measured
}

// A Sample is one load: requests, how long it took, seconds of CPU of the server
// and of load and origin.
type Sample struct {
	N                  int
	Seconds, CPU, Load float64
}

// A Half is one load at half the rate of saturation; latencies in microseconds.
type Half struct {
	Rate, P50, P99, P999 float64
	Failed               int
}

// Idle is what idle connections take: bytes each, and how many were open in the end.
type Idle struct {
	Conns, Alive int
	Bytes        float64
}

const figuresFile = "results/figures.json"

func readFigures() (f Figures, err error) {
	text, err := os.ReadFile(figuresFile)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	} else if err != nil {
		return f, err
	}
	return f, json.Unmarshal(text, &f)
}

// write keeps a line for each result, so that a run changes the lines of what it
// has measured.
func (f Figures) write() error {
	var b bytes.Buffer
	lines := func(name string, n int, at func(i int) any) error {
		b.WriteString(name)
		for i := range n {
			line, err := json.Marshal(at(i))
			if err != nil {
				return err
			}
			b.Write(line)
			if i < n-1 {
				b.WriteByte(',')
			}
			b.WriteByte('\n')
		}
		return nil
	}
	err := errors.Join(
		lines("{\"Machines\":[\n", len(f.Machines), func(i int) any { return f.Machines[i] }),
		lines("],\"Results\":[\n", len(f.Results), func(i int) any { return f.Results[i] }),
	)
	if err != nil {
		return err
	}
	b.WriteString("]}\n")
	return writeFile(figuresFile, b.Bytes())
}

func writeFile(name string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o644)
}

// put replaces a workload's result, measured on m, and forgets machines that no
// result names any more.
func (f *Figures) put(r Result, m Machine) {
	old := *f
	*f = Figures{}
	add := func(r Result, m Machine) {
		r.Machine = slices.IndexFunc(f.Machines, func(known Machine) bool { return reflect.DeepEqual(known, m) })
		if r.Machine < 0 {
			r.Machine = len(f.Machines)
			f.Machines = append(f.Machines, m)
		}
		f.Results = append(f.Results, r)
	}
	found := false
	for _, was := range old.Results {
		if was.Name == r.Name {
			found = true
			add(r, m)
			continue
		}
		add(was, old.Machines[was.Machine])
	}
	if !found {
		add(r, m)
	}
}

func (f Figures) of(name string) (Result, bool) {
	for _, r := range f.Results {
		if r.Name == name {
			return r, true
		}
	}
	return Result{}, false
}

func (r Result) row(name string) Row {
	for _, row := range r.Rows {
		if row.Name == name {
			return row
		}
	}
	return Row{}
}

// perCPU is how many requests each round a second of the server's CPU was enough
// for; 0 in a round without figures.
func (r Row) perCPU() []float64 {
	return each(r.Samples, func(s Sample) float64 { return over0(float64(s.N), s.CPU) })
}

func (r Row) p99() []float64 { return each(r.Halves, func(h Half) float64 { return h.P99 }) }

func each[T any](in []T, f func(T) float64) (out []float64) {
	for _, v := range in {
		out = append(out, f(v))
	}
	return out
}

// over0 divides, and is 0 where it cannot: a load may be shorter than a tick.
func over0(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// digits rounds to so many behind the point: more than was measured only fills the file.
func digits(x float64, n int) float64 {
	f := math.Pow10(n)
	return math.Round(x*f) / f
}
