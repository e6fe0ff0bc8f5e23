package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/health/status"
	"github.com/foretier/foretier/internal/fields"
)

// mayAct returns who may steer: clients with one of these addresses, and whoever may
// connect to a socket of -status. Nil: nobody.
func mayAct(c config) func(*http.Request) error {
	if len(c.actFrom) == 0 && !slices.ContainsFunc(list(c.status), isSocket) {
		return nil
	}
	return func(r *http.Request) error {
		if status.OverSocket(r) {
			return nil
		}
		addr, ok := fields.PeerAddr(r.RemoteAddr)
		if !ok || !slices.ContainsFunc(c.actFrom, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			return fmt.Errorf("%s is not in -act-from", r.RemoteAddr)
		}
		return nil
	}
}

// order has the gateway whose -status that is do what a person has ordered, as in "drain
// web2" or "purge tag product-7": each part that can.
func order(ctx context.Context, at, what string, out io.Writer) error {
	words := strings.Fields(what)
	if len(words) == 0 {
		return errors.New("-act is empty: want an order such as 'drain web2', 'ready web2' or 'purge tag product-7'")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	page := pageAt(at)
	defer page.client.CloseIdleConnections()
	var tier health.Report
	if err := page.call(ctx, "GET", "/status.json", nil, func(body io.Reader) error { return json.NewDecoder(body).Decode(&tier) }); err != nil {
		return err
	}
	orders, verbs := read(words, tier)
	if len(orders) == 0 {
		if len(verbs) == 0 {
			verbs = []string{"nothing"}
		}
		return fmt.Errorf("-act %q: nothing at %s is called so and does that: its parts do %s, as in 'drain web2' or 'purge tag product-7', and /status.json there lists their names", what, at, strings.Join(verbs, ", "))
	}
	for _, form := range orders {
		if err := page.call(ctx, "POST", "/act", form, nil); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s of %s %s\n", strings.Join(words, " "), form.Get("kind"), form.Get("name"))
	}
	return nil
}

// read returns what a person's words order of a tier: a verb, perhaps of several words,
// the part of a part that does it, and an argument; or what a part does itself, and an
// argument. It also returns all verbs that there are.
func read(words []string, tier health.Report) (orders []url.Values, verbs []string) {
	for _, of := range tier.Parts {
		for _, part := range append(slices.Clone(of.Parts), of) {
			own := part.Kind == of.Kind && part.Name == of.Name
			for _, verb := range part.Verbs {
				if !slices.Contains(verbs, verb) {
					verbs = append(verbs, verb)
				}
				rest, ok := cutWords(words, strings.Fields(verb))
				if ok && !own {
					rest, ok = cutWords(rest, []string{part.Name})
				}
				if ok {
					orders = append(orders, url.Values{"kind": {of.Kind}, "name": {of.Name}, "part": {part.Name}, "verb": {verb}, "arg": {strings.Join(rest, " ")}})
				}
			}
		}
	}
	return orders, verbs
}

// cutWords returns words without those that they must begin with.
func cutWords(words, begin []string) (rest []string, ok bool) {
	if len(words) < len(begin) || !slices.Equal(words[:len(begin)], begin) {
		return nil, false
	}
	return words[len(begin):], true
}

// A page is the status page of a gateway that runs.
type page struct {
	client http.Client
	base   string
}

// pageAt returns that of a -status; of several addresses a socket's, or the first.
func pageAt(at string) *page {
	addresses := list(at)
	for _, a := range addresses {
		if path, _, err := socketOf(a); isSocket(a) && err == nil {
			dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", path)
			}
			return &page{http.Client{Transport: &http.Transport{DialContext: dial}}, "http://localhost"}
		}
	}
	base := "http://" + addresses[0]
	if host, port, _ := net.SplitHostPort(addresses[0]); host == "" {
		base = "http://localhost:" + port
	}
	return &page{http.Client{Transport: &http.Transport{}}, base}
}

// call asks for path, and has read read the answer, which may be nil.
func (p *page) call(ctx context.Context, method, path string, form url.Values, read func(io.Reader) error) error {
	r, err := http.NewRequestWithContext(ctx, method, p.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := p.client.Do(r)
	if err != nil {
		return fmt.Errorf("%w: want the -status of a gateway that runs, and may be reached by you", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10)) // of what does not come, nothing is told
		if res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusMethodNotAllowed {
			return errors.New("the gateway takes no orders: it was started without -act-from and without a socket in -status")
		}
		return errors.New(strings.TrimSpace(string(text)))
	}
	if read == nil {
		return nil
	}
	return read(io.LimitReader(res.Body, 64<<20))
}
