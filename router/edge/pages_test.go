package edge_test

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/edge"
)

func TestHostPages(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { transit.Fail(w, r, 503, errors.New("down")) })
	srv := serve(t, h, edge.Options{
		Pages:     map[int][]byte{503: []byte("sorry")},
		HostPages: map[string]map[int][]byte{"b.example": {503: []byte("pardon")}, "C.Example.": {503: []byte("scusi")}, "[0:0::1]": {503: []byte("loop")}, "2001:DB8::1": {503: []byte("doc")}},
	})
	for host, want := range map[string]string{"a.example": "sorry", "B.example:80": "pardon", "c.example": "scusi", "C.EXAMPLE.:80": "scusi",
		"[::1]:8080": "loop", "[::1]": "loop", "[2001:db8:0::1]:80": "doc"} {
		req, err := http.NewRequest("GET", "http://"+srv.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(body) != want || res.Header.Get("Retry-After") != "30" {
			t.Errorf("%s: got %q, %v", host, body, res.Header)
		}
	}
}
