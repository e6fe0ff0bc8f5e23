package edgetest_test

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/router/edge/edgetest"
)

// A person's day at a shop, over HTTPS, in no time. The whole front stands where the
// handler is: see README.md's "Test your front".
func ExampleServe() {
	TestADay := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var log edgetest.Log
			shop := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "shop") })
			tier := edgetest.Serve(t, shop, edge.Options{TLS: edgetest.TLS(t, "shop.example"), Logger: log.Logger()})
			ann := tier.Client("203.0.113.9") // who keeps her cookies
			for range 8 {
				res, err := ann.Get("https://shop.example/")
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				time.Sleep(time.Hour) // of the bubble's
			}
			if n := len(log.Lines("msg=request", "client=203.0.113.9", "status=200")); n != 8 {
				t.Errorf("%d lines", n)
			}
			if err := tier.Stop(); err != nil { // drains, as at SIGTERM
				t.Error(err)
			}
		})
	}
	_ = TestADay // as a function of a _test.go file
}
