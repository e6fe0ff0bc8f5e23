package status

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
)

// explain answers with what the chain would do with a request, which nobody gets.
func (h *Handler) explain(w http.ResponseWriter, r *http.Request) {
	asked, err := requestOf(r.URL.Query())
	if err != nil {
		answer(w, http.StatusBadRequest, fmt.Errorf("status: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(health.Explain(h.opts.Explain, asked.WithContext(r.Context()))) // the reader may be gone
}

// requestOf makes the request of which is asked: its method, url, cookie, client (an
// address), and any field as header=Name: value.
func requestOf(q url.Values) (*http.Request, error) {
	r, err := http.NewRequest(q.Get("method"), q.Get("url"), nil)
	if err != nil {
		return nil, fmt.Errorf("no request: %w", err)
	}
	if r.URL.Host == "" || r.URL.Scheme != "http" && r.URL.Scheme != "https" {
		return nil, fmt.Errorf("url %q: want one such as https://shop.example/page", q.Get("url"))
	}
	if r.URL.Scheme == "https" {
		r.TLS = &tls.ConnectionState{ServerName: r.URL.Hostname(), HandshakeComplete: true}
	}
	client := netip.MustParseAddr("127.0.0.1")
	if s := q.Get("client"); s != "" {
		if client, err = netip.ParseAddr(s); err != nil {
			return nil, fmt.Errorf("client %q: want an address such as 192.0.2.1", s)
		}
	}
	r.RemoteAddr = net.JoinHostPort(client.String(), "1")
	r.RequestURI = r.URL.RequestURI()
	r.URL.Scheme, r.URL.Host, r.URL.User, r.URL.Fragment = "", "", nil, ""
	if cookie := q.Get("cookie"); cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	for _, line := range q["header"] {
		name, value, ok := cutField(line)
		if !ok {
			return nil, fmt.Errorf("header %q: want a field such as Accept-Language: de", line)
		}
		r.Header.Add(name, value)
	}
	return r, nil
}

// cutField cuts a field's line.
func cutField(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(line, ":")
	value = strings.TrimSpace(value)
	return name, value, ok && fields.Token(name) && fields.Value(value)
}
