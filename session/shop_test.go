//go:build e2e

package session_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/foretier/foretier/internal/servertest"
)

// TestE2ETwoShops sends 200 requests at once, all of one visitor, through two
// of the example shops that share a Redis or a memcached. All of their changes
// are in the cart; after a logout among 200 more there is none.
func TestE2ETwoShops(t *testing.T) {
	program := filepath.Join(t.TempDir(), "shop")
	if out, err := exec.Command("go", "build", "-o", program, "../examples/shop").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, flags := range [][]string{
		{"-redis", "redis://" + servertest.Redis(t).Addr},
		{"-memcached", servertest.Memcached(t).Addr},
	} {
		t.Run(flags[0], func(t *testing.T) {
			v := &visitorOfShops{t: t}
			for range 2 {
				port := servertest.FreePort(t)
				listen := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
				v.shops = append(v.shops, "http://"+servertest.Start(t, port, append([]string{program, "-listen", listen}, flags...)...).Addr)
			}
			v.client.Transport = &http.Transport{MaxIdleConnsPerHost: 200}
			defer v.client.CloseIdleConnections()
			v.send("POST", 0, "/cart?sku=first")
			v.crowd(func(i int) string {
				if i < 100 {
					return "/cart?sku=tea"
				}
				return fmt.Sprintf("/cart?sku=n%d", i)
			})
			if cart := v.cart(); cart["tea"] != 100 || len(cart) != 102 {
				t.Errorf("%d of 100 teas, %d of 102 items", cart["tea"], len(cart))
			}
			v.crowd(func(i int) string {
				if i == 100 {
					return "/logout"
				}
				return "/cart?sku=tea"
			})
			if cart := v.cart(); len(cart) > 0 {
				t.Errorf("after a logout: %v", cart)
			}
		})
	}
}

type visitorOfShops struct {
	t      *testing.T
	shops  []string
	client http.Client
	sid    *http.Cookie
}

// send asks the shop of that number and decodes a cart from its answer.
func (v *visitorOfShops) send(method string, shop int, path string) (cart map[string]int) {
	r, err := http.NewRequest(method, v.shops[shop]+path, nil)
	if err != nil {
		v.t.Error(err)
		return nil
	}
	r.Header.Set("Accept", "application/json")
	if v.sid != nil {
		r.AddCookie(v.sid)
	}
	res, err := v.client.Do(r)
	if err != nil {
		v.t.Error(err)
		return nil
	}
	defer res.Body.Close()
	var page struct{ Items map[string]int }
	if err := json.NewDecoder(res.Body).Decode(&page); res.StatusCode != http.StatusOK || err != nil {
		v.t.Errorf("%s %s: %d, %v", method, path, res.StatusCode, err)
	}
	for _, c := range res.Cookies() {
		if c.Name == "sid" && v.sid == nil {
			v.sid = c
		}
	}
	return page.Items
}

func (v *visitorOfShops) cart() map[string]int { return v.send("GET", 1, "/cart") }

func (v *visitorOfShops) crowd(path func(i int) string) {
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() { v.send("POST", i%len(v.shops), path(i)) })
	}
	wg.Wait()
}
