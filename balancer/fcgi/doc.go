// Package fcgi is the way of a [balancer.Pool] to servers of FastCGI: php-fpm, without a
// web server between.
//
//	site, err := fcgi.New("/var/www/shop", fcgi.Options{})
//	if err != nil {
//		return err
//	}
//	php, err := balancer.New(balancer.Backends("fcgi://10.0.0.11:9000", "fcgi:///run/php/php8.2-fpm.sock"), balancer.Options{
//		Transport: site.Transport,
//		Probe:     fcgi.Ping("/ping"), // php-fpm's ping.path
//	})
//	if err != nil {
//		return err
//	}
//	shop := site.Files(php) // pictures and styles from the disk, the rest from php-fpm
//
// It is a way and not another pool: picks, retries, health, limits, spooling and timeouts
// are the pool's. Backends of http and fcgi may stand in one.
//
// # What runs
//
// A path is looked at once, by its decoded form, and runs a script that exists below the
// root, whose name ends in .php and that lies in no directory of [Options.Deny]: the file
// itself, or index.php of a directory. Everything else runs the front controller, which
// the application takes for a page that it has or has not: /upload/x.jpg/a.php, a script
// in /uploads, dotfiles, and whatever is spelled so that two readers might see two paths.
// No part of a path ever becomes another file's name. A directory without its slash, if
// it has an index.php, is answered with a redirect.
//
// There is no .htaccess. What it kept from visitors, such as /vendor or /var in a root
// that has them, has to be kept from them by a rule of the router, or better by a root
// that has none of it, such as Magento's pub and Shopware's public.
//
// # What is sent
//
// Parameters are those of CGI (RFC 3875, section 4.1) and, as nginx and Apache send them
// too, REQUEST_URI, DOCUMENT_ROOT, SCRIPT_FILENAME, DOCUMENT_URI, REQUEST_SCHEME, HTTPS,
// REMOTE_PORT, SERVER_ADDR, REDIRECT_STATUS. Client and scheme are what the edge found. Fields become
// HTTP_*, repeated ones in one with commas, of Cookie with semicolons; a field Proxy goes
// to nobody (CVE-2016-5385), nor does one whose name has other than letters, digits and
// hyphens, since X_Forwarded_For and X-Forwarded-For would be one.
//
// A body goes on as it comes, with a length: the pool finds out that of one without, as
// far as it has room, and answers 411 beyond (see [balancer.Spool]). A script whose client
// goes away has its connection closed, which PHP notices when it next prints.
//
// # What is taken
//
// Whatever the server is: records of FastCGI 1.0 for the one request, a header of at most
// 1 MiB whose lines may end in LF alone (RFC 3875, section 6), a status from 200 to 999,
// by default 200, or 302 with a Location. A path in Location is sent to the client also
// where RFC 3875, section 6.2.2, would have it served at once: PHP never means that.
// Anything else is an error of the backend: 502, or a retry. What a script writes to its
// log (stderr) is one line in this process's, of 2,000 bytes at most.
//
// An answer is whole when its Content-Length has come, or the record that ends the
// request: what breaks off before is no page.
//
// # Connections
//
// Each request has one of its own. php-fpm gives a child to each connection, for as long
// as it is open: one that is kept would hold a child that serves nobody.
// [balancer.Limits.InFlight] is best what pm.max_children is, so that who waits does so fairly, here, and not in the backlog.
//
// FastCGI knows no TLS and no password: whoever reaches the port runs any file as a
// script. It belongs on a socket, or on a network of its own with listen.allowed_clients.
package fcgi
