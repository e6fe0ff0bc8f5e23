package health

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// GRPC returns a probe that asks the standard health service of gRPC
// (grpc.health.v1.Health/Check) about service; empty: about the server as a
// whole. It wants SERVING. The target's scheme is h2c or https, or
// for connections tcp or tls.
func GRPC(service string) Probe { return grpcProbe(service) }

type grpcProbe string

// Probe implements [Probe]. The messages are so small that they are framed by
// hand: a string in field 1 there, an enum in field 1 back.
func (service grpcProbe) Probe(ctx context.Context, t Target) (Result, error) {
	var msg []byte
	if service != "" {
		msg = binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(service)))
		msg = append(msg, service...)
	}
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(msg)))
	u := httpURL(t)
	u.Path, u.RawPath, u.RawQuery = "/grpc.health.v1.Health/Check", "", ""
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(append(frame, msg...)))
	if err != nil {
		return Result{}, fmt.Errorf("health: probe: %w", err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	req.Header.Set("User-Agent", "foretier-probe")
	rt := t.Transport
	if rt == nil {
		own := t.transport()
		own.Protocols = new(http.Protocols)
		own.Protocols.SetHTTP2(true)
		own.Protocols.SetUnencryptedHTTP2(true)
		defer own.CloseIdleConnections()
		rt = own
	}
	res, err := rt.RoundTrip(req)
	if err != nil {
		return Result{}, fmt.Errorf("health: probe: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil {
		return Result{}, fmt.Errorf("health: probe: %w", err)
	}
	status := res.Trailer.Get("Grpc-Status")
	if status == "" {
		status = res.Header.Get("Grpc-Status") // of an answer without a message
	}
	switch {
	case res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "application/grpc"):
		return Result{State: Degraded, Note: fmt.Sprintf("no gRPC: %d %s", res.StatusCode, http.StatusText(res.StatusCode))}, nil
	case status == "12":
		return Result{State: Degraded, Note: "has no health service"}, nil
	case status == "5":
		return Result{State: Degraded, Note: fmt.Sprintf("has no service %q", string(service))}, nil
	case status != "0":
		return Result{State: Degraded, Note: "gRPC status " + status}, nil
	}
	serving, ok := servingStatus(body)
	if !ok {
		return Result{State: Degraded, Note: "an answer that is none"}, nil
	}
	if serving != 1 {
		return Result{State: Degraded, Note: [...]string{"unknown", "serving", "not serving", "no such service"}[min(serving, 3)]}, nil
	}
	return Result{State: Up, Note: "serving"}, nil
}

// servingStatus reads field 1 of a HealthCheckResponse. An empty message is
// one of its default, 0.
func servingStatus(frame []byte) (uint64, bool) {
	if len(frame) < 5 || frame[0] != 0 || int(binary.BigEndian.Uint32(frame[1:])) != len(frame)-5 {
		return 0, false
	}
	msg := frame[5:]
	if len(msg) == 0 {
		return 0, true
	}
	v, n := binary.Uvarint(msg[1:])
	return v, msg[0] == 1<<3 && n > 0
}
