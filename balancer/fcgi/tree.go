package fcgi

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
)

// A tree is the directory that a site's root is at one moment.
type tree struct {
	root *os.Root // closed when nobody uses it any more
	info os.FileInfo
	path string // without links
}

// now returns the directory that the root is now.
func (s *Site) now() (*tree, error) {
	info, err := os.Stat(s.files)
	if err != nil {
		return nil, err
	}
	t := s.tree.Load()
	if t != nil && os.SameFile(t.info, info) {
		return t, nil
	}
	t = &tree{path: s.files}
	if t.root, err = os.OpenRoot(s.files); err != nil {
		return nil, err
	}
	if t.info, err = t.root.Stat("."); err != nil {
		return nil, err
	}
	// It may have been moved once more.
	if real, err := filepath.EvalSymlinks(s.files); err == nil {
		if info, err := os.Stat(real); err == nil && os.SameFile(t.info, info) {
			t.path = real
		}
	}
	s.tree.Store(t)
	return t, nil
}

// look tells what is at a path below the root.
func (t *tree) look(name string) kind {
	switch f, err := t.root.Stat(name); {
	case err != nil:
	case f.Mode().IsRegular():
		return file
	case f.IsDir():
		return directory
	}
	return nothing
}

// findNow is find for what is there now. It returns the root as php-fpm is to know it,
// too.
func (s *Site) findNow(u *url.URL) (run found, root string) {
	if s.files == "" {
		return s.find(u, s.listed), s.root
	}
	t, err := s.now()
	if err != nil {
		return s.find(u, func(string) kind { return nothing }), s.root
	}
	if root = s.root; s.files == root {
		root = t.path
	}
	return s.find(u, t.look), root
}

// listed stands for look where the files are remote.
func (s *Site) listed(name string) kind {
	if path := "/" + name; path == s.opts.Front || slices.Contains(s.opts.Scripts, path) {
		return file
	}
	return nothing
}
