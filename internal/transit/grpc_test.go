package transit

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestErrorsForGRPC: a call gets a status of its own, whatever it is asked over but HTTP/2
// gets a page.
func TestErrorsForGRPC(t *testing.T) {
	for kind, want := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true, "application/grpc;a=b": true,
		"": false, "application/grpc-web": false, "text/html": false, "x application/grpc": false,
	} {
		r := httptest.NewRequest("POST", "/shop.Cart/Add", nil)
		r.ProtoMajor, r.Proto = 2, "HTTP/2.0"
		r.Header.Set("Content-Type", kind)
		for status, code := range map[int]string{400: "13", 401: "16", 403: "7", 404: "12", 429: "14", 502: "14", 503: "14", 504: "14", 500: "2", 413: "2"} {
			w := httptest.NewRecorder()
			Fail(w, r, status, nil)
			got := w.Code == 200 && w.Header().Get("Grpc-Status") == code && w.Header().Get("Content-Type") == "application/grpc" && w.Body.Len() == 0
			if got != want || !want && w.Code != status {
				t.Errorf("%q, %d: %d %v", kind, status, w.Code, w.Header())
			}
		}
		r.ProtoMajor = 1
		w := httptest.NewRecorder()
		if Fail(w, r, http.StatusBadGateway, nil); w.Code != http.StatusBadGateway {
			t.Errorf("%q over HTTP/1.1: %d", kind, w.Code)
		}
	}
}
