// Package site has no code: it is a shop that has outgrown one server, as files to copy
// and as tests that break it. What runs behind it nobody here has written: WordPress on
// three Apaches, MariaDB with a replica, Redis, rsync, all from Debian's packages.
//
// README.md says what is where. The tests (make e2e) install it on loopback ports, walk
// through it in Chromium, and kill its parts under load.
package site
