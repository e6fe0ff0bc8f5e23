package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/foretier/foretier/health"
)

const (
	filesPoll   = 5 * time.Second
	filesSettle = time.Second // for which a file that has changed must stay as it is
	maxFile     = 128 << 20
	maxFileLine = 8 << 10
	fileEvents  = 20 // that the status page shows of each
)

// Files are what the gateway takes up while it serves: each is looked at every 5 s, and at
// SIGHUP. What is in them takes effect as a whole once it is proved to be right; else what
// was before stays, and one line in the log says why.
//
// A file that has changed is read once it has been the same, in size and time, for a
// second, so that one that is being written is not taken for a whole. Writers that pause
// for longer write another file and rename it over the first. After SIGHUP, which says
// that all is written, it is read at once.
type files struct {
	log  *slog.Logger
	hup  <-chan os.Signal
	list []*watched
}

// A watched file is one thing that may change: the content of one file, or of several that
// belong together.
type watched struct {
	flag     string // without its dash
	paths    []string
	optional bool // that it is not there means something
	// take has the content take effect, or nothing of it: nil for a file that is not
	// there. It returns in words what is in effect now, or what would be right.
	take func(contents [][]byte) (what string, err error)

	// What follows belongs to whoever calls look.
	seen, read stamps // at the last look, and when it was read last
	digest     [sha256.Size]byte
	taken      bool // digest is of what is in effect

	mu      sync.Mutex
	refused string         // guarded by mu: why what is there is not taken; "": it is
	changes uint64         // guarded by mu
	events  []health.Event // guarded by mu
}

// Stamps are by what a change is seen without reading.
type stamps string

// add has f take effect for the first time.
func (fs *files) add(f *watched) error {
	if _, err := f.look(true); err != nil {
		return fmt.Errorf("-%s %s: %w", f.flag, strings.Join(f.paths, ", "), err)
	}
	fs.list = append(fs.list, f)
	return nil
}

// Run looks at the files until ctx ends.
func (fs *files) Run(ctx context.Context) error {
	tick := time.NewTimer(filesPoll)
	defer tick.Stop()
	for {
		ordered := false
		select {
		case <-ctx.Done():
			return nil
		case <-fs.hup:
			ordered = true
		case <-tick.C:
		}
		if ordered && len(fs.list) == 0 {
			fs.log.Warn("there are no files to read again: want -backends @FILE, -redirects FILE, -block FILE, -maintenance FILE, -tls-cert FILE or -basic FILE")
		}
		next := filesPoll
		for _, f := range fs.list {
			if fs.look(f, ordered) {
				next = filesSettle
			}
		}
		tick.Reset(next)
	}
}

// look looks at f and tells what has become of it. It reports whether it is to be looked
// at again soon.
func (fs *files) look(f *watched, ordered bool) (again bool) {
	about := []any{"flag", "-" + f.flag, "file", strings.Join(f.paths, ", ")}
	found, err := f.look(ordered)
	switch {
	case err != nil:
		if f.refuse(err.Error()) || ordered {
			fs.log.Error("a file is not taken up, what was before stays", append(about, "cause", err)...)
		}
	case found == unsettled:
		return true
	case found.what != "":
		f.took(found.what)
		fs.log.Info("a file is taken up", append(about, "what", found.what)...)
	case found == same:
		if f.refuse("") || ordered {
			fs.log.Info("a file is what is in effect", about...)
		}
	}
	return false
}

// A change is what a look at a file has found.
type change struct {
	what  string // has taken effect
	state string // "": nothing to be said
}

var (
	unsettled = change{state: "unsettled"} // it may be about to be written
	same      = change{state: "same"}      // it is what is in effect
)

// look has f take effect if its content has changed. Unless it is ordered, only what has
// been the same for two looks is read, once.
func (f *watched) look(ordered bool) (change, error) {
	now := f.stamp()
	if !ordered {
		switch {
		case now == f.read:
			return change{}, nil
		case now != f.seen:
			f.seen = now
			return unsettled, nil
		}
	}
	contents, err := f.contents()
	if f.stamp() != now {
		f.seen = ""
		return unsettled, f.whole(ordered)
	}
	if f.read = now; ordered {
		f.read = "" // times are not exact: it is read again once it is seen to have settled
	}
	if err != nil {
		return change{}, err
	}
	digest := digestOf(contents)
	if f.taken && digest == f.digest {
		return same, nil
	}
	what, err := f.take(contents)
	if err != nil {
		return change{}, err
	}
	f.digest, f.taken = digest, true
	return change{what: what}, nil
}

// whole says of a file that was written while it was read what is wrong, if somebody has
// said that it is whole.
func (f *watched) whole(ordered bool) error {
	if !ordered {
		return nil
	}
	return errors.New("it is being written: want another file that is renamed over it")
}

func (f *watched) stamp() stamps {
	var b strings.Builder
	for _, path := range f.paths {
		if info, err := os.Stat(path); err != nil {
			fmt.Fprintln(&b, err)
		} else {
			fmt.Fprintln(&b, info.Size(), info.ModTime().UnixNano(), info.Mode(), number(info))
		}
	}
	return stamps(b.String())
}

// contents reads the file, or all that belong together; nil stands for one that is not
// there and need not be.
func (f *watched) contents() (out [][]byte, err error) {
	for _, path := range f.paths {
		b, err := readFile(path)
		if err != nil && !(f.optional && errors.Is(err, fs.ErrNotExist)) {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// readFile reads a regular file: from anything else nobody knows when it comes.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: want a readable file", err)
	case !info.Mode().IsRegular():
		return nil, errors.New("it is no regular file: want one that can be read again")
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%d bytes: want %d at most", info.Size(), maxFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: want a readable file", err)
	}
	defer f.Close()
	b := make([]byte, 0, info.Size()+1)
	in := bytes.NewBuffer(b)
	if _, err := in.ReadFrom(io.LimitReader(f, maxFile)); err != nil {
		return nil, fmt.Errorf("%w: want a readable file", err)
	}
	return in.Bytes(), nil
}

// digestOf tells contents from others, and none from empty ones.
func digestOf(contents [][]byte) (digest [sha256.Size]byte) {
	all := sha256.New()
	for _, b := range contents {
		fmt.Fprintln(all, b == nil, len(b))
		_, _ = all.Write(b) // which cannot fail
	}
	return [sha256.Size]byte(all.Sum(nil))
}

// refuse notes why f is not taken up, or "", and reports whether that is new.
func (f *watched) refuse(why string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if why == f.refused {
		return false
	}
	if f.refused = why; why != "" {
		f.eventLocked("refused: " + why)
	}
	return true
}

func (f *watched) took(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = ""
	f.changes++
	f.eventLocked(what)
}

func (f *watched) eventLocked(text string) {
	f.events = append(f.events, health.Event{Time: time.Now(), Part: "-" + f.flag, Text: text})
	f.events = f.events[max(0, len(f.events)-fileEvents):]
}

// Report implements [health.Reporter]: a part for each.
func (fs *files) Report() health.Report {
	out := health.Report{Kind: "files", Name: "files", State: health.Up}
	for _, f := range fs.list {
		f.mu.Lock()
		refused := 0.0
		part := health.Report{Kind: "file", Name: f.flag, State: health.Up}
		out.Events = append(out.Events, f.events...)
		if f.refused != "" {
			part.State, part.Why, refused = health.Degraded, "not taken up: "+f.refused, 1
			out.State, out.Why = health.Degraded, "-"+f.flag+" is "+part.Why
		}
		part.Metrics = []health.Metric{
			health.Count("changes_total", "Changes of the file that took effect.", f.changes),
			health.Level("refused", "Refused is what is in the file (1), or not (0).", "", refused),
		}
		f.mu.Unlock()
		out.Parts = append(out.Parts, part)
	}
	slices.SortStableFunc(out.Events, func(a, b health.Event) int { return a.Time.Compare(b.Time) })
	return out
}

// eachLine calls f with what a file says, line by line, without comments, which begin
// with # at the line's beginning or behind a space. An error gets its line's number.
func eachLine(content []byte, f func(line string) error) error {
	n := 0
	for line := range bytes.Lines(bytes.TrimPrefix(content, []byte("\ufeff"))) {
		n++
		if len(line) > maxFileLine {
			return fmt.Errorf("line %d has %d bytes: want %d at most", n, len(line), maxFileLine)
		}
		text := string(line)
		for _, mark := range []string{" #", "\t#"} {
			text, _, _ = strings.Cut(text, mark)
		}
		if text = strings.TrimSpace(text); text == "" || text[0] == '#' {
			continue
		}
		if err := f(text); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return nil
}
