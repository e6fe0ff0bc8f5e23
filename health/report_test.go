package health_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/foretier/foretier/health"
)

func TestStateAsText(t *testing.T) {
	for _, want := range []health.State{health.Unknown, health.Up, health.Degraded, health.Down} {
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got health.State
		if err := json.Unmarshal(text, &got); err != nil || got != want {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
	}
	var s health.State
	if err := json.Unmarshal([]byte(`"fine"`), &s); err == nil {
		t.Error(`"fine" passed as a state`)
	}
}

func TestDecisionAsText(t *testing.T) {
	d := health.Decision{Part: "router", Verdict: "rule shop", Why: "no other took it",
		Steps: []string{"admin: no reading of /a is admin"},
		Next:  []health.Decision{{Part: "cache", Verdict: "miss"}}}
	want := "router: rule shop (no other took it)\n  - admin: no reading of /a is admin\n  cache: miss\n"
	if got := d.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := d.LogValue().String(); got != "rule shop: no other took it" {
		t.Errorf("LogValue: %s", got)
	}
}

type sick struct{ http.Handler }

func (sick) Healthy(*http.Request) bool { return false }
func (sick) Explain(*http.Request) health.Decision {
	return health.Decision{Part: "pool apps", Verdict: "none"}
}

func TestAskingDownTheChain(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	plain := http.NotFoundHandler()
	if !health.Healthy(plain, r) {
		t.Error("a handler that does not know was taken to be sick")
	}
	if health.Healthy(sick{plain}, r) {
		t.Error("the handler's own word does not count")
	}
	if got := health.Explain(sick{plain}, r).Verdict; got != "none" {
		t.Errorf("Explain: %s", got)
	}
	if got := health.Explain(plain, r).Why; got != "http.HandlerFunc does not explain itself" {
		t.Errorf("Explain: %s", got)
	}
}
