package edge_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/foretier/foretier/router/edge"
)

// quiet is a server that a test asks by its ServeHTTP, without a port.
func quiet(h http.Handler, opts edge.Options) (*edge.Server, error) {
	opts.NoPort, opts.Linger = true, -1
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return edge.New(h, opts)
}

// HTTPS with certificates from files, which are re-read while it serves, and plain HTTP
// that leads there.
func ExampleHTTPSRedirect() {
	w := httptest.NewRecorder()
	edge.HTTPSRedirect().ServeHTTP(w, httptest.NewRequest("GET", "http://shop.example/cart?sku=1", nil))
	fmt.Println(w.Code, w.Header().Get("Location"))

	serve := func(ctx context.Context, shop http.Handler) error {
		certificates, err := edge.Certificates("/etc/shop/cert.pem", "/etc/shop/key.pem")
		if err != nil {
			return err
		}
		secure, err := edge.New(shop, edge.Options{Addr: ":443", Certificates: certificates})
		if err != nil {
			return err
		}
		plain, err := edge.New(edge.HTTPSRedirect(), edge.Options{Addr: ":80"})
		if err != nil {
			return err
		}
		return secure.Run(ctx, edge.RunnerFunc(func(ctx context.Context) error { return plain.Run(ctx) }))
	}
	_ = serve // as main calls it
	// Output: 308 https://shop.example/cart?sku=1
}

// Networks that are blocked, while it serves: a file of them is read anew by whoever
// wants to, and Block takes what was in it.
func ExampleServer_Block() {
	srv, err := quiet(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "shop") }), edge.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	if err := srv.Block([]netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}); err != nil {
		fmt.Println(err)
	}
	for _, client := range []string{"203.0.113.9:1024", "192.0.2.7:1024"} {
		r := httptest.NewRequest("GET", "http://shop.example/", nil)
		r.RemoteAddr = client
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		fmt.Println(client, w.Code)
	}
	// Output:
	// 203.0.113.9:1024 403
	// 192.0.2.7:1024 200
}

// What a handler knows of a request stands in the tier's log line of it.
func ExampleAnnotate() {
	shop := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		edge.Annotate(r.Context(), slog.String("shop", "de"), slog.Int("items", 3))
	})
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case "msg", "method", "status", "shop", "items":
			return a
		}
		return slog.Attr{} // of which each run has others
	}}))
	srv, err := quiet(shop, edge.Options{Logger: logger})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	srv.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://shop.example/cart", nil))
	// Output: msg=request method=GET status=200 shop=de items=3
}

// The operator's own page in place of a line of text, and the office sees how its requests
// went: Server-Timing in the browser's tools, X-Route-Trace where it asks for that.
func ExampleOptions_pages() {
	srv, err := quiet(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a fault") }), edge.Options{
		Pages:     map[int][]byte{500: []byte("<h1>Something broke. We know of it: {request-id}</h1>")},
		Observers: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	r := httptest.NewRequest("GET", "http://shop.example/", nil)
	r.RemoteAddr = "10.0.0.7:1024"
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	fmt.Println(w.Code, strings.HasPrefix(w.Body.String(), "<h1>Something broke. We know of it: "), w.Header()["Server-Timing"] != nil)
	// Output: 500 true true
}

// A socket of this machine, behind another server of it: only who is of the group may
// connect, and what that says of clients counts.
func ExampleListenUnix() {
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	l, err := edge.ListenUnix(filepath.Join(dir, "gateway.sock"), 0o660)
	if err != nil {
		fmt.Println(err)
		return
	}
	shop := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "for ", edge.Client(r)) })
	srv, err := edge.New(shop, edge.Options{Listener: l, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		Linger: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error)
	go func() { ended <- srv.Run(ctx) }()

	nginx := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", l.Addr().String())
	}}}
	r, err := http.NewRequest("GET", "http://shop.example/", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	r.Header.Set("X-Forwarded-For", "203.0.113.9")
	res, err := nginx.Do(r)
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	stop()
	fmt.Println(string(body), err, <-ended)
	// Output: for 203.0.113.9 <nil> <nil>
}

// Another version of the program takes over without a request lost: it finds the socket
// by Inherited and says TookOver once it serves.
func ExampleHandOver() {
	serve := func(ctx context.Context, shop http.Handler, upgrade <-chan os.Signal) error {
		passed, err := edge.Inherited()
		if err != nil {
			return err
		}
		var l net.Listener
		if len(passed) > 0 {
			l = passed[0]
		} else if l, err = net.Listen("tcp", ":8080"); err != nil {
			return err
		}
		srv, err := edge.New(shop, edge.Options{Listener: l})
		if err != nil {
			return err
		}
		ctx, end := context.WithCancelCause(ctx)
		defer end(nil)
		return srv.Run(ctx, edge.RunnerFunc(func(ctx context.Context) error {
			if err := edge.TookOver(); err != nil { // nobody has waited
				return err
			}
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-upgrade: // SIGUSR2, say
				}
				next := exec.Command(os.Args[0], os.Args[1:]...)
				next.Stderr = os.Stderr
				if err := edge.HandOver(ctx, next, l); err != nil {
					slog.Error("this process goes on", "cause", err)
					continue
				}
				end(edge.ErrHandedOver)
				return nil
			}
		}))
	}
	_ = serve // as main calls it
}

// Client certificates for one name of several.
func ExampleOptions_tls() {
	shop := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }} // of the shop
	partners := shop.Clone()
	partners.ClientAuth, partners.ClientCAs = tls.RequireAndVerifyClientCert, nil // the partners' authority
	shop.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName == "partners.shop.example" {
			return partners, nil
		}
		return nil, nil // the shop's
	}
	srv, err := quiet(http.NotFoundHandler(), edge.Options{TLS: shop})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(srv.Close())
	// Output: <nil>
}
