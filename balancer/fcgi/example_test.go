package fcgi_test

import (
	"context"
	"log"
	"net/http"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/balancer/fcgi"
)

// A shop on two php-fpm: its files are served from the disk, its pages by whichever of
// them is well.
func Example() {
	site, err := fcgi.New("/var/www/shop", fcgi.Options{})
	if err != nil {
		log.Fatal(err)
	}
	php, err := balancer.New(balancer.Backends("fcgi://10.0.0.11:9000", "fcgi:///run/php/php8.2-fpm.sock"), balancer.Options{
		Transport: site.Transport,
		Probe:     fcgi.Ping("/ping"),            // ping.path of php-fpm
		Limits:    balancer.Limits{InFlight: 20}, // pm.max_children of it
	})
	if err != nil {
		log.Fatal(err)
	}
	go php.Run(context.Background())
	log.Fatal(http.ListenAndServe(":8080", site.Files(php)))
}

// Where the gateway has none of the files, it has to be told which scripts there are. The
// rest of the files are another server's, by a rule of the router.
func Example_remote() {
	site, err := fcgi.New("/var/www/html", fcgi.Options{Remote: true, Scripts: []string{"/wp-login.php", "/wp-cron.php", "/wp-admin/admin-ajax.php"}})
	if err != nil {
		log.Fatal(err)
	}
	php, err := balancer.New(nil, balancer.Options{
		Transport: site.Transport,
		Source:    balancer.DNS("fcgi://php.shop.svc.cluster.local:9000", 0), // each address is a backend
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(":8080", php))
}
