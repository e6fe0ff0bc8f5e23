package main

import (
	"log/slog"
	"os"

	"github.com/foretier/foretier/router/edge"
)

// lines is what the log is written to: nobody waits for whoever reads it.
var lines = edge.NewLogWriter(os.Stderr, nil)

func init() { slog.SetDefault(slog.New(edge.NewLogHandler(lines, edge.LogOptions{}))) }

// must ends the program if err is not nil. It is called last of all with what
// serving ended with, so it waits for the latest lines.
func must[T any](v T, err error) T {
	if err != nil {
		slog.Error("quickstart", "cause", err)
	}
	lines.Close()
	if err != nil {
		os.Exit(1)
	}
	return v
}
