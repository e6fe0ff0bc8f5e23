//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"text/template"
)

// phpPage is what php-fpm answers every request with: 1 KiB that no cache may keep.
const phpPage = `<?php header('Cache-Control: no-store'); echo str_repeat('p', 1024);`

// startPHP starts php-fpm beside the origin, if it does not run, and has the entrant use
// it.
func (b *bench) startPHP(ctx context.Context, s *setup) error {
	root := filepath.Join(b.dir, "php")
	if b.php == nil {
		found, err := filepath.Glob("/usr/sbin/php-fpm*")
		if err != nil || len(found) == 0 {
			return errors.New("php-fpm is not installed: make install-bench")
		}
		port, err := freePort()
		if err != nil {
			return err
		}
		if err := os.MkdirAll(root, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(root, "index.php"), []byte(phpPage), 0o644); err != nil {
			return err
		}
		t, err := template.ParseFS(conf, "conf/fpm.conf")
		if err != nil {
			return err
		}
		var text bytes.Buffer
		own := setup{Dir: root, FPM: "127.0.0.1:" + strconv.Itoa(port)}
		if err := t.Execute(&text, own); err != nil {
			return err
		}
		file := filepath.Join(root, "fpm.conf")
		if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
			return err
		}
		argv := []string{found[len(found)-1], "--nodaemonize", "--fpm-config", file}
		if os.Getuid() == 0 {
			argv = append(argv, "--allow-to-run-as-root")
		}
		if b.php, err = start(ctx, b.loadCPU, root, own.FPM, argv); err != nil {
			return err
		}
	}
	s.Root, s.FPM = root, b.php.addr
	return nil
}
