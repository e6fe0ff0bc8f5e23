//go:build e2e

package site

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/foretier/foretier/internal/testkit"
)

// spoil has a file of an application server say something else, until mend; nothing is
// copied there meanwhile. What was not there before is gone afterwards.
func (s *site) spoil(web int, file string, text func(before string) string) (mend func()) {
	w := s.web[web]
	w.copying.Lock()
	path := filepath.Join(w.www, file)
	before, _ := os.ReadFile(path) // "" if there is none
	// By another name first, so that PHP reads the one or the other.
	if err := os.WriteFile(path+".next", []byte(text(string(before))), 0o644); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".next", path); err != nil {
		s.t.Fatal(err)
	}
	return func() {
		w.copying.Unlock()
		s.copy(w)
	}
}

// says returns the status of a page that an application server is asked for directly.
func (w *webserver) says() (status int) {
	r, err := http.NewRequest(http.MethodGet, w.url()+"/?says", nil)
	if err != nil {
		return 0
	}
	res, err := http.DefaultTransport.RoundTrip(r) // which follows no redirect
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

func fine(status int) bool { return 200 <= status && status < 400 }

// halve leaves half of WordPress' first program, as a copy that was broken off: PHP answers
// 500 for all its pages, and health.php is as well as ever.
func (s *site) halve(web int, lasts time.Duration) {
	mend := s.spoil(web, "wp-settings.php", func(before string) string { return before[:len(before)/2] + "\n(" })
	// PHP looks every two seconds whether a program has changed.
	testkit.Within(s.t, testkit.Patience, "half a program answers 500", func() bool { return s.web[web].says() == http.StatusInternalServerError })
	last(lasts)
	mend()
	testkit.Within(s.t, testkit.Patience, "the whole program answers", func() bool { return fine(s.web[web].says()) })
}

// hang has every page of WordPress at an application server wait for something.
func (s *site) hang(web int, lasts time.Duration) {
	mend := s.spoil(web, "wp-content/mu-plugins/wait.php", func(string) string { return fmt.Sprintf("<?php\nsleep(%d);\n", int(lasts.Seconds())) })
	began := time.Now()
	if status := s.web[web].says(); !fine(status) || time.Since(began) < lasts {
		s.t.Errorf("web%d answers %d after %v, and should have waited %v", web, status, time.Since(began), lasts)
	}
	mend()
}

// crash has PHP die again and again, with the Apache process that it is in.
func (s *site) crash(web int, lasts time.Duration) {
	crashed := 0
	for end := time.Now().Add(lasts); time.Now().Before(end); last(50 * time.Millisecond) {
		if all := children(s.web[web].PID()); len(all) > 0 && syscall.Kill(all[rand.IntN(len(all))], syscall.SIGSEGV) == nil {
			crashed++
		}
	}
	if crashed == 0 {
		s.t.Errorf("nothing of web%d has crashed", web)
	}
}

// noRoom fills an application server's disk, uploads a picture, and has it asked for while
// it cannot be copied there.
func (s *site) noRoom(c *crowd, web int, upload func() (path string)) {
	w := s.web[web]
	free := w.fill(s.t)
	before := w.refused.Load()
	path := upload()
	c.add(path)
	testkit.Within(s.t, time.Minute, "rsync finds no room, again and again", func() bool { return w.refused.Load() >= before+2 })
	copied := filepath.Join(w.www, path)
	if _, err := os.Stat(copied); err == nil {
		s.t.Errorf("%s is on web%d, whose disk is full", path, web)
	}
	free()
	testkit.Within(s.t, time.Minute, "with room, the picture is copied", func() bool {
		_, err := os.Stat(copied)
		return err == nil
	})
}
