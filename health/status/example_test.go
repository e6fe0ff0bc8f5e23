package status_test

import (
	"fmt"
	"net/http/httptest"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/health/status"
)

// warehouse is a part of the user's own, shown beside the tier's.
type warehouse struct{}

func (warehouse) Report() health.Report {
	return health.Report{Kind: "warehouse", Name: "north", State: health.Degraded, Why: "the scanner answers slowly"}
}

func Example() {
	page, err := status.New([]health.Reporter{warehouse{}}, status.Options{Name: "front1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(page.Report().State, "because of", page.Report().Why)

	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
	fmt.Print(w.Code, " ", w.Body)
	// Output:
	// degraded because of warehouse north: the scanner answers slowly
	// 200 ok
}
