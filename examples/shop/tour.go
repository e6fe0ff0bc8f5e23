package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/foretier/foretier/session"
)

// A stop of the tour checks one promise. What it returns is shown beside it.
type stop struct {
	promise string
	check   func(*tourist) (string, error)
}

var stops = []stop{
	{"the second visitor gets the page from the cache", hitAfterMiss},
	{"100 visitors at once cost one rendering", oneRendering},
	{"admin is served by the origin, however it is spelled", adminAtOrigin},
	{"cron is served by the origin", cronAtOrigin},
	{"a cart survives from request to request, on one server", cartStays},
	{"visitors do not see each other's cart", cartsApart},
	{"40 changes to one cart at once are all there", noLostUpdate},
	{"a logout stays a logout", logoutStays},
	{"an application server crashes under load and comes back: no GET fails", crash},
	{"a picture uploaded at the origin is visible at once", uploadVisible},
	{"a new price is visible at once", priceVisible},
}

var sharedStops = []stop{
	{"two tiers share a cart", tiersShare},
}

// tourTable walks through all stops and prints a row each. It returns the exit
// code: 1 if any row failed.
func tourTable(ctx context.Context, store session.Store, shared bool, out io.Writer, logger *slog.Logger) int {
	todo := stops
	if shared {
		todo = append(todo[:len(todo):len(todo)], sharedStops...)
	}
	t, err := startTour(ctx, store, logger)
	if err != nil {
		fmt.Fprintf(out, "the shop does not start: %v\n", err)
		return 1
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	failed := 0
	for _, s := range todo {
		result := "ok"
		seen, err := s.check(t)
		if err != nil {
			result, seen = "FAILED", err.Error()
			failed++
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", result, s.promise, seen)
	}
	if err := t.end(); err != nil {
		fmt.Fprintf(table, "FAILED\tthe tier ends in order\t%v\n", err)
		failed++
	} else {
		fmt.Fprintf(table, "ok\tthe tier ends in order\t\n")
	}
	if err := table.Flush(); err != nil {
		return 1
	}
	fmt.Fprintf(out, "%d passed, %d failed\n", len(todo)+1-failed, failed)
	if failed > 0 {
		return 1
	}
	return 0
}

func hitAfterMiss(t *tourist) (string, error) {
	start := time.Now()
	first, err := t.visitor().get("/product/1")
	miss := time.Since(start)
	if err != nil {
		return "", err
	}
	start = time.Now()
	second, err := t.visitor().get("/product/1")
	hit := time.Since(start)
	switch {
	case err != nil:
		return "", err
	case first.hit() || !second.hit():
		return "", fmt.Errorf("Cache-Status: %q, then %q", first.header.Get("Cache-Status"), second.header.Get("Cache-Status"))
	case first.body != second.body:
		return "", errors.New("two pages")
	}
	return fmt.Sprintf("%s rendered it in %s, the cache answered in %s", first.server(), round(miss), round(hit)), nil
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

func oneRendering(t *tourist) (string, error) {
	const visitors = 100
	pages, err := parallel(visitors, func(int) (string, error) {
		r, err := t.visitor().get("/product/2")
		return r.body, err
	})
	if err != nil {
		return "", err
	}
	for _, p := range pages {
		if p != pages[0] {
			return "", errors.New("it was rendered more than once")
		}
	}
	return fmt.Sprintf("%d answers, all rendered at the same moment", visitors), nil
}

func adminAtOrigin(t *tourist) (string, error) {
	targets := []string{
		"/admin", "/admin/", "/%61dmin", "//admin", "/ADMIN", "/./admin", "/x/../admin", "/x/%2e%2e/admin", "/index.php/admin",
		"/admin;x", "/%2561dmin", "/admin%2fprice", "/index.php%2fadmin", "/admin/price?sku=1&price=1",
		"http://shop.example/admin", "/admin\\x", "/../admin", "/product/1/../../admin",
	}
	refused := 0
	for _, target := range targets {
		status, server, err := t.raw(target)
		switch {
		case err != nil:
			return "", fmt.Errorf("%s: %w", target, err)
		case status == http.StatusBadRequest && server == "":
			refused++
		case server != "web0":
			return "", fmt.Errorf("%s: %d from %q", target, status, server)
		}
	}
	return fmt.Sprintf("of %d spellings web0 got %d, the tier itself refused %d", len(targets), len(targets)-refused, refused), nil
}

func cronAtOrigin(t *tourist) (string, error) {
	for _, target := range []string{"/cron.php", "/CRON.php", "//cron.php", "/cron.php/now", "/%63ron.php"} {
		if status, server, err := t.raw(target); err != nil || server != "web0" {
			return "", fmt.Errorf("%s: %d from %q, %w", target, status, server, err)
		}
	}
	r, err := t.visitor().get("/cron.php")
	return strings.TrimSpace(r.body), err
}

func cartStays(t *tourist) (string, error) {
	v := t.visitor()
	first, err := v.post("/cart?sku=1")
	if err != nil {
		return "", err
	}
	for range 5 {
		r, err := v.post("/cart?sku=2")
		if err != nil {
			return "", err
		}
		if r.server() != first.server() {
			return "", fmt.Errorf("from %s to %s", first.server(), r.server())
		}
	}
	items, _, err := v.items()
	if err != nil || items["1"] != 1 || items["2"] != 5 {
		return "", fmt.Errorf("the cart holds %v, %w", items, err)
	}
	return fmt.Sprintf("%v on %s", items, first.server()), nil
}

func cartsApart(t *tourist) (string, error) {
	const visitors = 20
	_, err := parallel(visitors, func(i int) (struct{}, error) {
		v, sku := t.visitor(), fmt.Sprint(i+1)
		for range 3 {
			if _, err := v.post("/cart?sku=" + sku); err != nil {
				return struct{}{}, err
			}
			if _, err := v.get("/product/1"); err != nil { // shared, in between
				return struct{}{}, err
			}
		}
		items, r, err := v.items()
		if err == nil && (len(items) != 1 || items[sku] != 3 || r.hit()) {
			err = fmt.Errorf("visitor %d sees %v", i, items)
		}
		return struct{}{}, err
	})
	return fmt.Sprintf("%d visitors, each with a cart", visitors), err
}

func noLostUpdate(t *tourist) (string, error) {
	const changes = 40
	v := t.visitor()
	if _, err := v.post("/cart?sku=1"); err != nil {
		return "", err
	}
	_, err := parallel(changes, func(i int) (reply, error) {
		return v.post(fmt.Sprintf("/cart?sku=%d", i%2+1))
	})
	if err != nil {
		return "", err
	}
	items, _, err := v.items()
	if err != nil || items["1"] != changes/2+1 || items["2"] != changes/2 {
		return "", fmt.Errorf("the cart holds %v, %w", items, err)
	}
	return fmt.Sprint(items), nil
}

func logoutStays(t *tourist) (string, error) {
	v := t.visitor()
	if _, err := v.post("/cart?sku=3"); err != nil {
		return "", err
	}
	if _, err := v.post("/login?user=ada"); err != nil {
		return "", err
	}
	if items, _, err := v.items(); err != nil || items["3"] != 1 {
		return "", fmt.Errorf("after the login the cart holds %v, %w", items, err)
	}
	thief := t.visitor() // somebody with the same cookies
	u, err := url.Parse(t.base[0])
	if err != nil {
		return "", err
	}
	thief.Jar.SetCookies(u, v.Jar.Cookies(u))
	if _, err := v.post("/logout"); err != nil {
		return "", err
	}
	for _, who := range []*visitor{v, thief} {
		if items, _, err := who.items(); err != nil || len(items) != 0 {
			return "", fmt.Errorf("after the logout the cart holds %v, %w", items, err)
		}
	}
	return "", nil
}

// crash cuts web1 off in the middle of a load, and starts it again.
func crash(t *tourist) (string, error) {
	web1 := t.farms[0].web[1]
	var answered, pages atomic.Int64
	ctx, cancel := context.WithTimeout(t.ctx, 30*time.Second)
	defer cancel()
	reached := make(chan int64, 1000)
	var events sync.WaitGroup
	var failure error
	events.Go(func() {
		defer cancel()
		for n := range reached {
			switch n {
			case 200:
				failure = web1.stop()
			case 500:
				failure = errors.Join(failure, web1.start())
			case 800:
				return
			}
		}
	})
	_, err := parallel(8, func(i int) (struct{}, error) {
		v := t.visitor()
		for ctx.Err() == nil {
			// Every page is another one, so that the servers have work.
			path := fmt.Sprintf("/product/%d?page=%d", i+3, pages.Add(1))
			if _, err := v.get(path); err != nil {
				cancel()
				return struct{}{}, err
			}
			select {
			case reached <- answered.Add(1):
			case <-ctx.Done():
			}
		}
		return struct{}{}, nil
	})
	close(reached)
	events.Wait()
	if err = errors.Join(err, failure); err != nil {
		return "", err
	}
	if answered.Load() < 800 {
		return "", fmt.Errorf("only %d answers in 30 s", answered.Load())
	}
	return fmt.Sprintf("%d GETs, none failed", answered.Load()), nil
}

func uploadVisible(t *tourist) (string, error) {
	v := t.visitor()
	if r, err := v.get("/media/new.png"); err == nil || r.status != http.StatusNotFound {
		return "", fmt.Errorf("before the upload: %d, %w", r.status, err)
	}
	for _, content := range []string{"first picture", "second picture"} {
		r, err := v.do("PUT", "/admin/media/new.png", strings.NewReader(content))
		if err != nil || r.server() != "web0" {
			return "", fmt.Errorf("upload at %q: %w", r.server(), err)
		}
		for range 4 {
			if r, err := t.visitor().get("/media/new.png"); err != nil || r.body != content {
				return "", fmt.Errorf("after the upload of the %s: %q, %w", content, r.body, err)
			}
		}
	}
	if _, err := v.get("/cron.php"); err != nil {
		return "", err
	}
	return "before it was copied to the others, twice", nil
}

func priceVisible(t *tourist) (string, error) {
	v := t.visitor()
	for _, path := range []string{"/product/5", "/"} {
		if _, err := v.get(path); err != nil {
			return "", err
		}
	}
	if r, err := v.post("/admin/price?sku=5&price=4711"); err != nil || r.server() != "web0" {
		return "", fmt.Errorf("price set at %q: %w", r.server(), err)
	}
	for _, path := range []string{"/product/5", "/"} {
		r, err := t.visitor().get(path)
		if err != nil || !strings.Contains(r.body, "4711.00") {
			return "", fmt.Errorf("%s shows the old price: %w", path, err)
		}
		if again, err := t.visitor().get(path); err != nil || again.body != r.body {
			return "", fmt.Errorf("%s is not cached any more: %w", path, err)
		}
	}
	return "on its page and in the catalogue, both cached again", nil
}

func tiersShare(t *tourist) (string, error) {
	v := t.visitor()
	if _, err := v.post("/cart?sku=7"); err != nil {
		return "", err
	}
	other := t.visitor()
	other.base = t.base[1]
	from, err := url.Parse(t.base[0])
	if err != nil {
		return "", err
	}
	to, err := url.Parse(t.base[1])
	if err != nil {
		return "", err
	}
	other.Jar.SetCookies(to, v.Jar.Cookies(from))
	if _, err := other.post("/cart?sku=7"); err != nil {
		return "", err
	}
	items, _, err := v.items()
	if err != nil || items["7"] != 2 {
		return "", fmt.Errorf("the first tier sees %v, %w", items, err)
	}
	return fmt.Sprintf("%v, half through each", items), nil
}
