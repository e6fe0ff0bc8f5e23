package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/foretier/foretier/router"
)

func (f *flags) registerAnswers(fs *flag.FlagSet) {
	fs.Func("answer", "`NAME: VALUE` of a field that answers of backends have in place of their own, such as 'X-Robots-Tag: noindex' for a shop that nobody is to find; with no value it is taken off, such as 'X-Powered-By:' (may be repeated)", func(s string) error {
		name, value, ok := strings.Cut(s, ":")
		if !ok {
			return errors.New("want a field such as 'X-Robots-Tag: noindex', or 'X-Powered-By:' to take it off")
		}
		if value = strings.TrimSpace(value); value == "" {
			f.c.answers.Delete = append(f.c.answers.Delete, name)
			return nil
		}
		if f.c.answers.Set == nil {
			f.c.answers.Set = make(http.Header)
		}
		f.c.answers.Set[name] = append(f.c.answers.Set[name], value)
		return nil
	})
	fs.StringVar(&f.errorPages, "error-pages", "", "`DIRECTORY` of pages that visitors are shown in place of what backends say with an error, such as 404.html and 503.html: self-contained HTML; the tier's own errors have them too, unless -error-page has another. Those who accept only JSON get that")
}

func (f *flags) checkAnswers() {
	_, err := router.NewAnswers(f.c.answers)
	f.check("answer", "", err)
}

// readErrorPages reads a directory of pages that are called by their status.
func readErrorPages(dir string) (map[int][]byte, error) {
	if dir == "" {
		return nil, nil
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("-error-pages: %w", err)
	}
	pages := make(map[int][]byte)
	for _, file := range files {
		if strings.HasPrefix(file.Name(), ".") {
			continue // of editors, and of Kubernetes
		}
		name, html := strings.CutSuffix(file.Name(), ".html")
		status, err := strconv.Atoi(name)
		if err != nil || !html || status < 400 || status > 599 {
			return nil, fmt.Errorf("-error-pages %s: %q is no page for a status: want files such as 404.html and 503.html, of statuses from 400 to 599", dir, file.Name())
		}
		if pages[status], err = readFile(filepath.Join(dir, file.Name())); err != nil {
			return nil, fmt.Errorf("-error-pages %s: %s: %w", dir, file.Name(), err)
		}
		if n := len(pages[status]); n == 0 || n > maxPage {
			return nil, fmt.Errorf("-error-pages %s: %s: %d bytes: want self-contained HTML of 1 to %d bytes", dir, file.Name(), n, maxPage)
		}
	}
	if len(pages) == 0 {
		return nil, fmt.Errorf("-error-pages %s: it is empty: want files such as 404.html and 503.html", dir)
	}
	return pages, nil
}

// amended returns a pool with what its answers say changed, below the cache: once, before
// they are stored.
func (t *tier) amended(pool http.Handler) (http.Handler, error) {
	if len(t.config.answers.Set)+len(t.config.answers.Delete) == 0 {
		return pool, nil
	}
	a, err := router.NewAnswers(t.config.answers)
	if err != nil {
		return nil, fmt.Errorf("-answer: %w", err)
	}
	return a.Handler(pool), nil
}

// ownPages are for the tier's own errors.
func (c *config) ownPages() map[int][]byte {
	pages := maps.Clone(c.errorPages)
	if pages == nil {
		return c.pages
	}
	maps.Copy(pages, c.pages)
	return pages
}

// shown returns what shows the pages of -error-pages, for [router.Rule.Use]: none if
// there are none.
func (c *config) shown() ([]func(http.Handler) http.Handler, error) {
	if len(c.errorPages) == 0 {
		return nil, nil
	}
	p, err := router.NewErrorPages(c.errorPages)
	if err != nil {
		return nil, fmt.Errorf("-error-pages: %w", err)
	}
	return []func(http.Handler) http.Handler{p.Handler}, nil
}
