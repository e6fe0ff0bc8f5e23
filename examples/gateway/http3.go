package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"

	"github.com/foretier/foretier/router/edge/h3"
)

// An http3Config says whether HTTP/3 is served, and where.
type http3Config struct {
	at   string // on, off or an address
	port int    // where clients find it; 0: at the port that it listens on
}

func (f *flags) registerHTTP3(fs *flag.FlagSet) {
	fs.StringVar(&f.c.http3.at, "http3", "off", "`on` for HTTP/3 at the UDP port with the number of -listen, or HOST:PORT of UDP, such as :443, or off. It needs -tls-cert or -acme; clients are told of it by Alt-Svc, with -https-port if that is given")
}

// checkHTTP3 refuses what makes no sense together, before anything listens.
func (f *flags) checkHTTP3() {
	c := &f.c.http3
	switch c.at {
	case "off":
		return
	case "on":
	default:
		if err := checkListen(c.at); err != nil {
			f.check("http3", c.at, fmt.Errorf("%w, or on, or off", err))
		}
	}
	if f.c.cert == "" && len(f.c.acme.hosts) == 0 {
		f.check("http3", c.at, errors.New("it needs -tls-cert or -acme, since HTTP/3 is never without TLS"))
	}
	if f.set["https-port"] {
		c.port = f.c.httpsPort
	}
}

// http3 makes what serves HTTP/3, nil for nobody.
func (t *tier) http3() (*h3.Server, error) {
	c := t.config.http3
	if c.at == "off" {
		return nil, nil
	}
	if c.at == "on" {
		at, ok := t.sockets.main.Addr().(*net.TCPAddr)
		if !ok {
			return nil, fmt.Errorf("-http3 on: %s is passed on for -listen, which is no port: want HOST:PORT of UDP", t.sockets.main.Addr())
		}
		c.at = at.String()
	}
	// What quic-go has to say, that the kernel's buffers are small, it says there, once.
	log.SetFlags(0)
	log.SetOutput(slog.NewLogLogger(t.log.Handler(), slog.LevelWarn).Writer())
	quic, err := h3.New(h3.Options{Addr: c.at, Port: c.port, Key: t.config.stickyKey})
	if err != nil {
		return nil, fmt.Errorf("-http3 %q: %w: want a free UDP port of this machine", t.config.http3.at, err)
	}
	return quic, nil
}
