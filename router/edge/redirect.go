package edge

import (
	"net/http"
	"strings"
)

// Redirect sends every request to the same host and target over https, with
// 308, which keeps method and body. It is what listens on port 80:
//
//	plain, err := edge.New(edge.Redirect(), edge.Options{Addr: ":80"})
//	...
//	err = secure.Run(ctx, apps, edge.RunnerFunc(func(ctx context.Context) error { return plain.Run(ctx) }))
func Redirect() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
			host = host[:i]
		}
		target := r.URL.RequestURI()
		if !strings.HasPrefix(target, "/") {
			target = "/"
		}
		w.Header().Set("Location", "https://"+host+target)
		w.WriteHeader(http.StatusPermanentRedirect)
	})
}
