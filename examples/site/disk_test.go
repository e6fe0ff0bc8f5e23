//go:build e2e

package site

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// disk is how large a web server's own one is: WordPress takes 60 MiB of it.
const disk = 128 << 20

// ownDisk mounts a small disk for all that a web server writes. Where nobody may mount, as
// in some containers, its files are on the machine's, and what is copied there has no room.
func (w *webserver) ownDisk(t *testing.T) {
	t.Helper()
	err := syscall.Mount("tmpfs", w.state, "tmpfs", 0, fmt.Sprintf("size=%d,mode=755", disk))
	switch {
	case err == nil:
		w.mounted = true
		t.Cleanup(func() { _ = syscall.Unmount(w.state, syscall.MNT_DETACH) }) // whoever still looks into it
	case errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES):
		t.Logf("no disk of its own for %s, so only what is copied there will find no room: %v", w.state, err)
	default:
		t.Fatal(err)
	}
}

// fill leaves no room on a web server's disk, until free: neither for its logs nor for
// what rsync brings. Without a disk of its own only rsync finds none, by a limit on its
// files, of which Apache would die at its first line of a log.
func (w *webserver) fill(t *testing.T) (free func()) {
	t.Helper()
	w.full.Store(true)
	if !w.mounted {
		return func() { w.full.Store(false) }
	}
	ballast := filepath.Join(w.state, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for page := make([]byte, 4096); err == nil; {
		_, err = f.Write(page)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full, but %v", err)
	}
	return func() {
		if err := os.Remove(ballast); err != nil {
			t.Error(err)
		}
		w.full.Store(false)
	}
}

// children returns the processes that a process has started, and not waited for.
func children(pid int) (pids []int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)) // none if it has ended
	for _, field := range strings.Fields(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			pids = append(pids, child)
		}
	}
	return pids
}

// copy brings a server to where the origin is, unless it is kept from that. A file that is
// gone meanwhile is no error, nor is what a full disk has no room for.
func (s *site) copy(w *webserver) {
	if !w.copying.TryLock() {
		return
	}
	defer w.copying.Unlock()
	argv := append(s.copies[:len(s.copies)-1:len(s.copies)-1], w.www+"/") // in place of its own folder
	full := w.full.Load()
	if full && !w.mounted {
		argv = append([]string{"prlimit", "--fsize=0", "--"}, argv...)
	}
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	switch {
	case err == nil || strings.Contains(err.Error(), "status 24"):
	case full:
		w.refused.Add(1)
	default:
		s.t.Errorf("rsync: %v\n%s", err, out)
	}
}
