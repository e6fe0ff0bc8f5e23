package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
)

// within returns who may steer: clients with one of these addresses.
func within(prefixes []netip.Prefix) func(*http.Request) error {
	if len(prefixes) == 0 {
		return nil
	}
	return func(r *http.Request) error {
		addr, ok := fields.PeerAddr(r.RemoteAddr)
		if !ok || !slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			return fmt.Errorf("%s is not in -act-from", r.RemoteAddr)
		}
		return nil
	}
}

// order has the gateway whose status page is at that address do what a person has
// ordered, as in "drain web2": to each part of that name that can.
func order(ctx context.Context, at, what string, out io.Writer) error {
	words := strings.Fields(what)
	if len(words) < 2 || len(words) > 3 {
		return fmt.Errorf("-act %q: want a verb and a backend, such as 'drain web2', 'maintenance web2' or 'ready web2'", what)
	}
	verb, part, arg := words[0], words[1], strings.Join(words[2:], "")
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	base := "http://" + at
	var tier health.Report
	if err := call(ctx, "GET", base+"/status.json", nil, func(body io.Reader) error { return json.NewDecoder(body).Decode(&tier) }); err != nil {
		return err
	}
	done := 0
	for _, of := range tier.Parts {
		can := func(p health.Report) bool { return p.Name == part && slices.Contains(p.Verbs, verb) }
		if !slices.ContainsFunc(of.Parts, can) && !can(of) {
			continue
		}
		form := url.Values{"kind": {of.Kind}, "name": {of.Name}, "part": {part}, "verb": {verb}, "arg": {arg}}
		if err := call(ctx, "POST", base+"/act", form, nil); err != nil {
			return err
		}
		done++
		fmt.Fprintf(out, "%s %s of %s %s\n", verb, part, of.Kind, of.Name)
	}
	if done == 0 {
		return fmt.Errorf("-act %q: nothing at %s is called %s and does that: http://%s/status.json lists all parts, with their verbs", what, at, part, at)
	}
	return nil
}

// call asks for url, and has read read the answer, which may be nil.
func call(ctx context.Context, method, url string, form url.Values, read func(io.Reader) error) error {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("%w: want the -status HOST:PORT of a gateway that runs", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10)) // of what does not come, nothing is told
		if res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusMethodNotAllowed {
			return errors.New("the gateway takes no orders: it was started without -act-from")
		}
		return errors.New(strings.TrimSpace(string(text)))
	}
	if read == nil {
		return nil
	}
	return read(io.LimitReader(res.Body, 64<<20))
}
