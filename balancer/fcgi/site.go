package fcgi

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/transit"
)

// Options of a [Site]. The zero Options are valid.
type Options struct {
	// Files is where this process has the root's files, if not at the root itself: php-fpm
	// in a container may know them by another path.
	Files string
	// Remote says that this process has none of the files: only the front controller and
	// Scripts run, and [Site.Files] serves none.
	Remote bool
	// Scripts are what runs beside the front controller where the files are remote, such
	// as /wp-login.php. A path that ends in a slash runs its index.php.
	Scripts []string
	// Front is the front controller, which runs for all that is no script. Empty:
	// /index.php.
	Front string
	// NoFront says that there is none: what is no script is answered with 404.
	NoFront bool
	// Deny are directories with what visitors send, in which no script runs: paths below
	// the root, such as /wp-content/files, or names of directories anywhere. In small
	// letters and capitals alike. Nil: upload, uploads, media. Empty: none.
	Deny []string
	// PathInfo has /index.php/a/b run /index.php, with /a/b as PATH_INFO. Without it that
	// is a path like any other.
	PathInfo bool
	// Dial bounds connecting. 0: 1 s. Negative: no limit.
	Dial time.Duration
	// Logger takes what scripts write to their log, ten lines at once and then one a
	// second. Nil: [slog.Default].
	Logger *slog.Logger
}

// A Site is a root of files and scripts. It is safe for concurrent use.
type Site struct {
	opts  Options
	root  string // as php-fpm knows it
	files string // as this process does; empty: not at all
	deny  []string
	lines transit.Lines
	tree  atomic.Pointer[tree] // nil before the first look, and if the files are remote
}

// New returns the site whose root is, for php-fpm, at this absolute path. The files are
// looked at for every request: a root that is a symbolic link may be moved to another
// release, which php-fpm is then told by its own path, as its caches need it. Links that
// lead out of the root are not followed.
func New(root string, opts Options) (*Site, error) {
	s := &Site{opts: opts, root: strings.TrimRight(root, "/"), lines: transit.Lines{Burst: 10}}
	if !path.IsAbs(root) && !filepath.IsAbs(root) || s.root == "" || strings.ContainsAny(root, "\x00\r\n") {
		return nil, fmt.Errorf("fcgi: root %q: want an absolute path, such as /var/www/shop", root)
	}
	s.opts.Logger = cmp.Or(opts.Logger, slog.Default())
	s.opts.Dial = max(cmp.Or(opts.Dial, time.Second), 0)
	if err := errors.Join(s.setFront(), s.setDeny(), s.setFiles()); err != nil {
		return nil, err
	}
	return s, nil
}

// setFront checks what runs.
func (s *Site) setFront() error {
	switch o := &s.opts; {
	case o.NoFront && o.Front != "":
		return fmt.Errorf("fcgi: Front is %q, and NoFront says that there is none: want one of the two", o.Front)
	case o.NoFront && o.Remote && len(o.Scripts) == 0:
		return errors.New("fcgi: nothing runs: want Front, or Scripts")
	case len(o.Scripts) > 0 && !o.Remote:
		return errors.New("fcgi: Scripts are for files that are Remote: of others, those run that exist")
	case !o.NoFront:
		o.Front = cmp.Or(o.Front, "/index.php")
	}
	s.opts.Scripts = slices.Clone(s.opts.Scripts)
	for _, script := range append(slices.Clip(s.opts.Scripts), s.opts.Front) {
		if u := (&url.URL{Path: script}); script != "" && (!isScript(u) || !strings.HasSuffix(script, ".php")) {
			return fmt.Errorf("fcgi: script %q: want a path below the root, such as /index.php", script)
		}
	}
	return nil
}

// setDeny reads the directories in which nothing runs.
func (s *Site) setDeny() error {
	deny := s.opts.Deny
	if deny == nil {
		deny = []string{"upload", "uploads", "media"}
	}
	for _, dir := range deny {
		name := strings.Trim(dir, "/")
		if !fs.ValidPath(name) || name == "." || strings.Contains(name, "/") && !strings.HasPrefix(dir, "/") {
			return fmt.Errorf("fcgi: Deny %q: want a directory below the root, such as /wp-content/files, or the name of one, such as uploads", dir)
		}
		s.deny = append(s.deny, strings.ToLower(strings.TrimSuffix(dir, "/"))+"/")
	}
	return nil
}

// setFiles finds the files.
func (s *Site) setFiles() error {
	if s.opts.Remote {
		if s.opts.Files != "" {
			return fmt.Errorf("fcgi: Files is %q, and Remote says that there are none: want one of the two", s.opts.Files)
		}
		return nil
	}
	s.files = cmp.Or(s.opts.Files, s.root)
	const want = "want the directory in which this process finds the site's files, or Remote if it has none"
	if !filepath.IsAbs(s.files) {
		return fmt.Errorf("fcgi: files %q: %s", s.files, want)
	}
	now, err := s.now()
	if err != nil {
		return fmt.Errorf("fcgi: files: no directory is at %s: %s", s.files, want)
	}
	if front := s.opts.Front; front != "" && now.look(front[1:]) != file {
		return fmt.Errorf("fcgi: there is no %s in %s, or it is a link out of there: want the site's front controller as Front, or NoFront", front, s.files)
	}
	return nil
}

// Transport is for [balancer.Options.Transport]: it is the way to backends of fcgi, such
// as fcgi://10.0.0.11:9000 or fcgi:///run/php/php8.2-fpm.sock, and none to others, which
// are the pool's.
func (s *Site) Transport(b balancer.Backend) http.RoundTripper {
	u, err := url.Parse(b.URL)
	if err != nil || u.Scheme != "fcgi" {
		return nil
	}
	// A connection has one request, whose time is limited: probes of TCP cost more than
	// they are worth.
	return &transport{site: s, name: b.Name, target: health.Target{URL: u}, dialer: net.Dialer{Timeout: s.opts.Dial, KeepAlive: -1}}
}
