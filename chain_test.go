package foretier_test

import (
	"net/http"
	"testing"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// again sends rewritten requests through the tier once more.
type again struct{ http.Handler }

func (a again) Wraps() []http.Handler { return []http.Handler{a.Handler} }

// A tier that leads back to itself, in several ways, is looked through in no
// time.
func TestATierThatLeadsBackToItself(t *testing.T) {
	front := must(router.New(router.Options{}, router.Rule{Name: "shop", To: http.NotFoundHandler()}))
	var rules []router.Rule
	for _, old := range []string{"/a/*", "/b/*", "/c/*", "/d/*", "/e/*"} {
		rules = append(rules, router.Rule{Name: old, When: router.Path(old), To: again{front}})
	}
	if err := front.Update(append(rules, router.Rule{Name: "shop", To: http.NotFoundHandler()})...); err != nil {
		t.Fatal(err)
	}
	pages := must(cache.New(cache.Options{}))
	defer pages.Close()
	pages.Handler(front)
	srv := must(edge.New(front, edge.Options{Addr: "127.0.0.1:0"}))
	_ = srv.Close()
	front.Report()
	if err := front.Prove(router.Only(http.NotFoundHandler())); err != nil {
		t.Error(err)
	}
}
