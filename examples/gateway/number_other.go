//go:build !unix

package main

import "io/fs"

// number is the same for all files: they are told apart by size and time.
func number(fs.FileInfo) uint64 { return 0 }
