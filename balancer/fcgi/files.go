package fcgi

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/given"
)

// Files returns a handler that serves the site's files, and hands everything else to
// next, which is the pool: GET and HEAD of what exists below the root, with conditions and
// ranges (RFC 9110, sections 13 and 14), an ETag of size and time, and a directory's index.html if it
// has no index.php. It lists no directory.
//
// Never served are dotfiles, but for /.well-known (RFC 8615), sources of PHP whatever is
// behind their .php, what editors and dumps leave behind (.bak, .old, .orig, .save, .swp,
// .sql, .inc, .ini), links that lead out of the root, and paths that two readers might
// understand differently. All that goes to next, as a path like any other.
//
// Of a Site whose files are remote it is next alone. A nil next panics.
func (s *Site) Files(next http.Handler) http.Handler {
	if given.Nil(next) {
		panic("fcgi: Files of a nil handler")
	}
	if s.files == "" {
		return next
	}
	return &files{s, next}
}

type files struct {
	site *Site
	next http.Handler
}

// ServeHTTP implements [http.Handler].
func (f *files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	open, info := f.open(r)
	if open == nil {
		f.next.ServeHTTP(w, r)
		return
	}
	defer open.Close()
	h := w.Header()
	if h["Content-Type"] == nil {
		kind := mime.TypeByExtension(path.Ext(info.Name()))
		if kind == "" {
			kind = "application/octet-stream" // what is in it is not looked at
		}
		h["Content-Type"] = []string{kind}
	}
	h["Etag"] = []string{tag(info, time.Now())}
	http.ServeContent(w, r, info.Name(), info.ModTime(), open)
}

// tag is the validator of a file. One that has just been written may be written again
// within what the clock of its file system can tell, so that it is weak at first (RFC
// 9110, section 8.8.1).
func tag(info os.FileInfo, now time.Time) string {
	t := fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size())
	if now.Sub(info.ModTime()) < time.Second {
		t = "W/" + t
	}
	return t
}

// open opens what is served for r, or returns nil.
func (f *files) open(r *http.Request) (*os.File, os.FileInfo) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil, nil
	}
	name, slash, ok := public(r.URL)
	if !ok {
		return nil, nil
	}
	now, err := f.site.now()
	if err != nil {
		return nil, nil
	}
	if slash {
		if now.look(path.Join(name, "index.php")) != nothing {
			return nil, nil
		}
		name = path.Join(name, "index.html")
	}
	// A pipe would be waited for before it can be asked what it is.
	if now.look(name) != file {
		return nil, nil
	}
	open, err := now.root.Open(name)
	if err != nil {
		return nil, nil
	}
	if info, err := open.Stat(); err == nil && info.Mode().IsRegular() {
		return open, info
	}
	_ = open.Close() // it was another thing meanwhile
	return nil, nil
}

// hidden are ends of names of files that are nobody's.
var hidden = []string{".bak", ".old", ".orig", ".save", ".swp", ".sql", ".inc", ".ini"}

// public returns the name that u may have below the root, if what is there may be served.
func public(u *url.URL) (name string, slash, ok bool) {
	name, slash, ok = local(u)
	if !ok {
		return "", false, false
	}
	lower := strings.ToLower(name)
	if strings.Contains(lower, "/.") || lower != "." && strings.HasPrefix(lower, ".") && !strings.HasPrefix(name, ".well-known/") {
		return "", false, false
	}
	for _, source := range []string{".php", ".pht", ".phar"} { // .phps, .php5, .php.bak, .phtml
		if strings.Contains(lower, source) {
			return "", false, false
		}
	}
	return name, slash, !slices.ContainsFunc(hidden, func(end string) bool { return strings.HasSuffix(lower, end) })
}

// Wraps implements [health.Wrapper].
func (f *files) Wraps() []http.Handler { return []http.Handler{f.next} }

// Explain implements [health.Explainer].
func (f *files) Explain(r *http.Request) health.Decision {
	d := health.Decision{Part: "files", Verdict: "next"}
	if open, _ := f.open(r); open != nil {
		_ = open.Close()
		d.Verdict, d.Why = "file", "it is below "+f.site.files
		return d
	}
	d.Why = "there is no such file below " + f.site.files + " for everybody"
	switch run, _ := f.site.findNow(r.URL); {
	case run.script != "":
		d.Steps = []string{"a backend of fcgi runs " + run.script}
	case run.to != "":
		d.Steps = []string{"it is a directory: a backend of fcgi redirects to " + run.to}
	}
	d.Next = []health.Decision{health.Explain(f.next, r)}
	return d
}

// Healthy implements [health.Checker]: files are served whoever else is gone.
func (f *files) Healthy(r *http.Request) bool {
	if open, _ := f.open(r); open != nil {
		_ = open.Close()
		return true
	}
	return health.Healthy(f.next, r)
}
