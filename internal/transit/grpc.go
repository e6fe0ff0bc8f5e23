package transit

import (
	"net/http"
	"strconv"
	"strings"
)

// speaksGRPC reports whether r is a call of gRPC, whose client reads a status of its own
// behind the answer, and no page.
func speaksGRPC(r *http.Request) bool {
	kind, rest, _ := strings.Cut(r.Header.Get("Content-Type"), "application/grpc")
	return r.ProtoMajor == 2 && kind == "" && (rest == "" && r.Header.Get("Content-Type") != "" || strings.HasPrefix(rest, "+") || strings.HasPrefix(rest, ";"))
}

// grpcStatus is what a client of gRPC takes a status of HTTP for (gRPC's "HTTP to gRPC
// Status Code Mapping").
func grpcStatus(status int) int {
	switch status {
	case http.StatusBadRequest:
		return 13 // INTERNAL
	case http.StatusUnauthorized:
		return 16 // UNAUTHENTICATED
	case http.StatusForbidden:
		return 7 // PERMISSION_DENIED
	case http.StatusNotFound:
		return 12 // UNIMPLEMENTED
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return 14 // UNAVAILABLE
	}
	return 2 // UNKNOWN
}

// showGRPC answers a call with its status alone: what gRPC calls Trailers-Only.
func showGRPC(w http.ResponseWriter, status int) {
	h := w.Header()
	h.Set("Content-Type", "application/grpc")
	h.Set("Grpc-Status", strconv.Itoa(grpcStatus(status)))
	h.Set("Grpc-Message", strconv.Itoa(status)+" "+http.StatusText(status))
	w.WriteHeader(http.StatusOK)
}
