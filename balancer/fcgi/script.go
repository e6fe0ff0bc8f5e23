package fcgi

import (
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/foretier/foretier/internal/target"
)

// found is what becomes of a path.
type found struct {
	script string // which runs, as a path below the root; empty: none
	info   string // PATH_INFO
	to     string // or where to redirect the client
}

// A kind is what is at a path below the root.
type kind uint8

const (
	nothing kind = iota
	file
	directory
)

// find decides which script a path runs. look tells what is at a path below the root.
func (s *Site) find(u *url.URL, look func(name string) kind) found {
	front := found{script: s.opts.Front}
	name, slash, ok := local(u)
	if !ok {
		return front
	}
	isScript := func(name string) bool { return s.mayRun(name) && look(name) == file }
	index := path.Join(name, "index.php")
	switch {
	case slash:
		if isScript(index) {
			return found{script: "/" + index}
		}
	case isScript(name):
		return found{script: "/" + name}
	case look(name) == directory && isScript(index):
		to := target.Of(u)
		to.Path += "/"
		return found{to: to.Location()}
	}
	if script, info, ok := cutInfo(name); ok && s.opts.PathInfo && isScript(script) {
		if slash {
			info += "/"
		}
		return found{script: "/" + script, info: info}
	}
	return front
}

// cutInfo splits a path behind the first of its segments that is named like a script.
func cutInfo(name string) (script, info string, ok bool) {
	const mark = ".php/"
	i := strings.Index(name+"/", mark)
	if i < 0 {
		return "", "", false
	}
	i += len(mark) - 1
	return name[:i], name[i:], true
}

// mayRun reports whether a file of that name is one that runs, if it exists.
func (s *Site) mayRun(name string) bool {
	if !strings.HasSuffix(name, ".php") || strings.HasPrefix(name, ".") || strings.Contains(name, "/.") {
		return false
	}
	// A file system may take other letters for the same.
	below := "/" + strings.ToLower(path.Dir(name)) + "/"
	return !slices.ContainsFunc(s.deny, func(dir string) bool {
		if strings.HasPrefix(dir, "/") {
			return strings.HasPrefix(below, dir)
		}
		return strings.Contains(below, "/"+dir)
	})
}

// local returns what a path may be below the root, "." for the root itself, and whether
// it ends in a slash. What more than one reader might take for something else is nothing:
// escaped slashes, dots, blanks at an end, backslashes, and with them the short names and
// streams of Windows.
func local(u *url.URL) (name string, slash, ok bool) {
	name, ok = strings.CutPrefix(u.Path, "/")
	if !ok || strings.Count(u.Path, "/") != strings.Count(target.Sent(u), "/") {
		return "", false, false
	}
	if name == "" {
		return ".", true, true
	}
	name, slash = strings.CutSuffix(name, "/")
	if !fs.ValidPath(name) || name == "." || strings.ContainsFunc(name, ambiguous) {
		return "", false, false
	}
	for s := range strings.SplitSeq(name, "/") {
		if strings.HasSuffix(s, ".") || strings.HasSuffix(s, " ") {
			return "", false, false
		}
	}
	return name, slash, true
}

func ambiguous(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' || c == ':' || c == '~' }
