//go:build unix

package main

import (
	"io/fs"
	"os"
	"os/signal"
	"syscall"
)

// number is that of the file in its file system: one that was renamed over another has
// its own.
func number(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return 0
}

// onHandOver has c told when another process is to take over.
func onHandOver(c chan<- os.Signal) { signal.Notify(c, syscall.SIGUSR2) }
