package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/foretier/foretier/session"
)

const (
	renderTime = 30 * time.Millisecond // what a catalogue page costs
	maxPicture = 8 << 20
)

// A shop is the application, as it runs on one server. It knows nothing of the
// tier in front but its purge.
type shop struct {
	name   string // web0, web1 ...
	server int    // its folder in docroots; 0 is the origin's
	goods  *catalogue
	media  *docroots
	purge  func(ctx context.Context, tags ...string) error // removes from the tier's cache what depends on tags
}

var (
	skuForm     = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	pictureForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
)

// Handler returns the shop with its sessions.
func (s *shop) Handler(sessions *session.Manager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("GET /product/{sku}", s.product)
	mux.HandleFunc("GET /media/{name}", s.picture)
	mux.HandleFunc("GET /cart", s.cart)
	mux.HandleFunc("POST /cart", s.addToCart)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("POST /logout", s.logout)
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	if s.server == 0 {
		mux.HandleFunc("GET /admin", s.admin)
		mux.HandleFunc("GET /admin/", s.admin)
		mux.HandleFunc("POST /admin/price", s.setPrice)
		mux.HandleFunc("PUT /admin/media/{name}", s.upload)
		mux.HandleFunc("GET /cron.php", s.cron)
	}
	inner := sessions.Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Served-By", s.name)
		inner.ServeHTTP(w, asApache(r))
	})
}

// asApache reads the path as Apache with PHP does: decoded, slashes merged, dots
// resolved, and what stands behind index.php is what it is asked for. So //admin
// and /index.php/admin are the admin page, and the tier has to know.
func asApache(r *http.Request) *http.Request {
	read := path.Clean("/" + r.URL.Path)
	if behind, ok := strings.CutPrefix(read, "/index.php"); ok && (behind == "" || behind[0] == '/') {
		read = path.Clean("/" + behind)
	}
	as, u := *r, *r.URL
	u.Path, u.RawPath = read, ""
	as.URL = &u
	return &as
}

func (s *shop) home(w http.ResponseWriter, r *http.Request) {
	var offers []offer
	for _, p := range s.goods.all() {
		offers = append(offers, offer{p.SKU, p.Name, money(p.Cents)})
	}
	s.catalogue(w, r, "catalogue", pageData{Title: "Everything for the house", Products: offers, Home: true})
}

func (s *shop) product(w http.ResponseWriter, r *http.Request) {
	p, ok := s.goods.find(r.PathValue("sku"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	s.catalogue(w, r, "product-"+p.SKU, pageData{Title: p.Name, Products: []offer{{p.SKU, p.Name, money(p.Cents)}}})
}

// catalogue renders a page that is the same for every visitor. The tag says
// what it depends on.
func (s *shop) catalogue(w http.ResponseWriter, r *http.Request, tag string, d pageData) {
	select {
	case <-time.After(renderTime): // the database, the templates
	case <-r.Context().Done():
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=0, s-maxage=300")
	w.Header().Set("Cache-Tag", tag)
	s.render(w, d)
}

func (s *shop) render(w http.ResponseWriter, d pageData) {
	d.Server, d.Time = s.name, time.Now().Format("15:04:05.000")
	var b strings.Builder
	if err := page.Execute(&b, d); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, b.String()) // fails only if the visitor is gone
}

func (s *shop) picture(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	w.Header().Set("Cache-Tag", "media-"+name) // of a 404 too: an upload ends it
	p, ok := s.media.open(s.server, name)
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=3600")
	http.ServeContent(w, r, name, p.when, strings.NewReader(string(p.data)))
}

// visit is what the session holds.
type visit struct {
	Items map[string]int `json:"items"`
	User  string         `json:"user,omitempty"`
}

func readVisit(s *session.Session) (v visit, err error) {
	if v.Items, _, err = session.Value[map[string]int](s, "items"); err != nil {
		return v, err
	}
	if v.Items == nil {
		v.Items = map[string]int{}
	}
	v.User, _, err = session.Value[string](s, "user")
	return v, err
}

func (s *shop) cart(w http.ResponseWriter, r *http.Request) {
	v, err := readVisit(session.From(r.Context()))
	if err != nil {
		return // sessions.Handler answers
	}
	s.showCart(w, r, v)
}

func (s *shop) showCart(w http.ResponseWriter, r *http.Request, v visit) {
	w.Header().Set("Cache-Control", "private, no-store")
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // fails only if the visitor is gone
		return
	}
	d := pageData{Title: "Your cart", Items: v.Items, User: v.User, Cart: true}
	if len(v.Items) == 0 {
		d.Text = "It is empty."
	}
	if v.User != "" {
		d.Title = v.User + "’s cart"
	}
	s.render(w, d)
}

func (s *shop) addToCart(w http.ResponseWriter, r *http.Request) {
	sku := r.FormValue("sku")
	if !skuForm.MatchString(sku) {
		http.Error(w, "sku: want 1 to 64 letters, digits, dots, hyphens or underscores", http.StatusBadRequest)
		return
	}
	sess := session.From(r.Context())
	// The function is run again if another request changed the cart meanwhile.
	err := session.Update(sess, "items", func(items map[string]int, _ bool) (map[string]int, error) {
		if items == nil {
			items = make(map[string]int)
		}
		items[sku]++
		return items, nil
	})
	if err != nil {
		return // sessions.Handler answers
	}
	s.cart(w, r)
}

func (s *shop) login(w http.ResponseWriter, r *http.Request) {
	user := r.FormValue("user")
	if !skuForm.MatchString(user) {
		http.Error(w, "user: want 1 to 64 letters, digits, dots, hyphens or underscores", http.StatusBadRequest)
		return
	}
	sess := session.From(r.Context())
	if err := errors.Join(sess.Subject(user), sess.Set("user", user)); err != nil {
		return // sessions.Handler answers
	}
	s.cart(w, r)
}

func (s *shop) logout(w http.ResponseWriter, r *http.Request) {
	if err := session.From(r.Context()).Destroy(); err != nil {
		return // sessions.Handler answers
	}
	s.showCart(w, r, visit{Items: map[string]int{}})
}

func (s *shop) admin(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	s.render(w, pageData{Title: "Administration", Text: "Also: POST /admin/price?sku=SKU&price=N, PUT /admin/media/NAME.", Admin: true})
}

func (s *shop) setPrice(w http.ResponseWriter, r *http.Request) {
	sku := r.FormValue("sku")
	cents, err := parsePrice(r.FormValue("price"))
	if err != nil || !skuForm.MatchString(sku) {
		http.Error(w, fmt.Sprintf("sku %q, price %q: want a SKU and a number", sku, r.FormValue("price")), http.StatusBadRequest)
		return
	}
	s.goods.price(sku, cents)
	s.changed(w, r, fmt.Sprintf("%s costs %s\n", sku, money(cents)), "product-"+sku, "catalogue")
}

func (s *shop) upload(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if !pictureForm.MatchString(name) {
		http.Error(w, "name: want letters, digits, dots, hyphens or underscores", http.StatusBadRequest)
		return
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPicture))
	if err != nil {
		status := http.StatusBadRequest // it broke off
		if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
			status = http.StatusRequestEntityTooLarge
		}
		http.Error(w, err.Error(), status)
		return
	}
	s.media.upload(name, data)
	s.changed(w, r, fmt.Sprintf("/media/%s has %d bytes\n", name, len(data)), "media-"+name)
}

// changed purges what showed the old state, then answers: who reads the answer
// may rely on the new state being shown.
func (s *shop) changed(w http.ResponseWriter, r *http.Request, text string, tags ...string) {
	w.Header().Set("Cache-Control", "no-store")
	if err := s.purge(r.Context(), tags...); err != nil {
		http.Error(w, "saved, but the cache still shows the old state: "+err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, text) // fails only if the administrator is gone
}

func (s *shop) cron(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	fmt.Fprintf(w, "%d pictures copied to the other servers\n", s.media.sync())
}
