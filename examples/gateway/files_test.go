//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
)

// A written file is one whose content takes effect as it is, unless it says "bad".
type written struct {
	t     *testing.T
	path  string
	takes []string // what has taken effect, in order
	files files
	hup   chan os.Signal
	log   *testkit.Log
}

// watching calls f within a bubble in which a file is watched.
func watching(t *testing.T, optional bool, f func(w *written)) {
	t.Helper()
	w := &written{t: t, path: filepath.Join(t.TempDir(), "file"), log: new(testkit.Log)}
	w.write("one")
	synctest.Test(t, func(t *testing.T) {
		w.t, w.hup = t, make(chan os.Signal, 1)
		w.files = files{log: w.log.Logger(), hup: w.hup}
		err := w.files.add(&watched{flag: "flag", paths: []string{w.path}, optional: optional, take: w.take})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- w.files.Run(t.Context()) }()
		f(w)
	})
}

func (w *written) take(contents [][]byte) (string, error) {
	text := string(contents[0])
	if contents[0] == nil {
		text = "nothing"
	}
	if strings.Contains(text, "bad") {
		return "", errors.New("line 1: want what is good")
	}
	w.takes = append(w.takes, text)
	return text, nil
}

func (w *written) write(text string) {
	w.t.Helper()
	if err := os.WriteFile(w.path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// rename has another file stand in the place of the first, of the same size and time.
func (w *written) rename(text string) {
	w.t.Helper()
	info, err := os.Stat(w.path)
	if err == nil {
		err = errors.Join(os.WriteFile(w.path+".new", []byte(text), 0o600),
			os.Chtimes(w.path+".new", info.ModTime(), info.ModTime()), os.Rename(w.path+".new", w.path))
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *written) wants(takes ...string) {
	w.t.Helper()
	synctest.Wait()
	if got, want := fmt.Sprint(w.takes), fmt.Sprint(takes); got != want {
		w.t.Errorf("%s has taken effect, want %s", got, want)
	}
}

func (w *written) part() health.Report { return w.files.Report().Parts[0] }

func TestAFileIsTakenUp(t *testing.T) {
	watching(t, false, func(w *written) {
		time.Sleep(time.Minute)
		w.wants("one")
		w.write("the second")
		time.Sleep(filesPoll + filesSettle + time.Millisecond)
		w.wants("one", "the second")
		w.rename("the third ")
		time.Sleep(filesPoll + filesSettle + time.Millisecond)
		w.wants("one", "the second", "the third ")
		time.Sleep(time.Minute)
		w.wants("one", "the second", "the third ")
		w.log.Wants(w.t, "level=INFO", "flag=-flag", "file="+w.path, `what="the second"`)
		if events := w.files.Report().Events; len(events) != 2 || events[1].Text != "the third " || events[1].Part != "-flag" {
			w.t.Errorf("%+v", events)
		}
		if p := w.part(); p.Metrics[0].Value != 2 || p.State != health.Up {
			w.t.Errorf("%+v", p)
		}
	})
}

// A file that is being written is not read until it has settled, or somebody says that
// it is whole.
func TestAFileThatIsBeingWritten(t *testing.T) {
	watching(t, false, func(w *written) {
		for i := range 40 {
			w.write(strings.Repeat("x", i+5))
			time.Sleep(700 * time.Millisecond)
		}
		w.wants("one")
		w.write("whole, at last")
		time.Sleep(2 * filesSettle)
		w.wants("one", "whole, at last")
		w.write("and again")
		w.hup <- syscall.SIGHUP
		w.wants("one", "whole, at last", "and again")
		w.rename("and aft3r") // at once, of the same size and time
		time.Sleep(filesPoll + filesSettle + time.Millisecond)
		w.wants("one", "whole, at last", "and again", "and aft3r")
	})
}

// What is refused is told once, however long it lies there, and again if somebody asks.
func TestAFileThatIsRefused(t *testing.T) {
	watching(t, false, func(w *written) {
		lines := func(want int) {
			w.t.Helper()
			synctest.Wait()
			if n := strings.Count(w.log.String(), "level=ERROR"); n != want {
				w.t.Errorf("%d lines of refusal, want %d: %s", n, want, w.log)
			}
		}
		w.write("bad, it is")
		time.Sleep(time.Minute)
		lines(1)
		w.log.Wants(w.t, "level=ERROR", "flag=-flag", "file="+w.path, `cause="line 1: want what is good"`)
		if p, all := w.part(), w.files.Report(); p.State != health.Degraded || !strings.Contains(p.Why, "line 1: want what is good") || all.State != health.Degraded || p.Metrics[1].Value != 1 {
			w.t.Errorf("%+v", all)
		}
		w.write("bad, it stays")
		time.Sleep(time.Minute)
		lines(1)
		w.hup <- syscall.SIGHUP
		lines(2)
		time.Sleep(time.Minute)
		lines(2)
		if err := os.Remove(w.path); err != nil {
			w.t.Fatal(err)
		}
		time.Sleep(time.Minute)
		lines(3)
		w.log.Wants(w.t, "level=ERROR", "no such file", "want a readable file")
		if err := syscall.Mkfifo(w.path, 0o600); err != nil { // which nobody writes
			w.t.Fatal(err)
		}
		time.Sleep(time.Minute)
		lines(4)
		w.log.Wants(w.t, "level=ERROR", "no regular file")
		if err := os.Remove(w.path); err != nil {
			w.t.Fatal(err)
		}
		w.wants("one")
		w.write("one")
		time.Sleep(time.Minute)
		w.wants("one")
		if p := w.part(); p.State != health.Up || p.Why != "" || p.Metrics[1].Value != 0 {
			w.t.Errorf("as it was: %+v", p)
		}
		w.write("good")
		time.Sleep(time.Minute)
		w.wants("one", "good")
		lines(4)
	})
}

// A file that need not be there says something by that.
func TestAFileThatNeedNotBe(t *testing.T) {
	watching(t, true, func(w *written) {
		if err := os.Remove(w.path); err != nil {
			w.t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.wants("one", "nothing")
		w.write("")
		time.Sleep(time.Minute)
		w.wants("one", "nothing", "")
		w.hup <- syscall.SIGHUP
		w.wants("one", "nothing", "")
		w.log.Wants(w.t, "level=INFO", "a file is what is in effect")
	})
}

// Whoever watches no files says so when it is told to read them.
func TestNoFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, hup := new(testkit.Log), make(chan os.Signal, 1)
		fs := files{log: log.Logger(), hup: hup}
		done := make(chan error, 1)
		go func() { done <- fs.Run(t.Context()) }()
		hup <- syscall.SIGHUP
		synctest.Wait()
		log.Wants(t, "level=WARN", "-redirects FILE")
	})
}

// A password in a line that is refused is told to nobody, though the line is no URL.
func TestRefusalsKeepPasswords(t *testing.T) {
	for _, line := range []string{"http://shop:hunter2@10.0.0.11:8080", "http://shop:hunter2%zz@10.0.0.11:8080", "shop:hunter2@10.0.0.11:8080"} {
		_, err := parseBackends([]byte(line + "\n"))
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "10.0.0.11") {
			t.Errorf("%s: got %v", line, err)
		}
	}
}

func TestEachLine(t *testing.T) {
	var got []string
	err := eachLine([]byte("\ufeff# comment\r\n\r\n  a  # b\r\nc#d\t#e\n\n#\nlast"), func(line string) error {
		got = append(got, line)
		return nil
	})
	if want := "a|c#d|last"; err != nil || strings.Join(got, "|") != want {
		t.Errorf("%q, %v, want %s", got, err, want)
	}
}
