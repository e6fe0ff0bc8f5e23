//go:build !unix

package main

import (
	"io/fs"
	"os"
)

// number is the same for all files: they are told apart by size and time.
func number(fs.FileInfo) uint64 { return 0 }

// onHandOver does nothing: sockets are not handed over here.
func onHandOver(chan<- os.Signal) {}
