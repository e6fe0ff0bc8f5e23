package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
)

// catalogue stands in for the shop's database: one, shared by all servers.
type catalogue struct {
	mu       sync.RWMutex
	products map[string]product // guarded by mu; by SKU
}

type product struct {
	SKU, Name string
	Cents     int
}

func newCatalogue() *catalogue {
	c := &catalogue{products: make(map[string]product)}
	kinds := []string{"Teapot", "Lantern", "Compass", "Umbrella", "Notebook", "Kettle"}
	colours := []string{"blue", "green", "brass", "white"}
	for i := range 24 {
		sku := strconv.Itoa(i + 1)
		c.products[sku] = product{sku, colours[i%len(colours)] + " " + kinds[i%len(kinds)], 990 + 250*i}
	}
	return c
}

func (c *catalogue) find(sku string) (product, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	p, ok := c.products[sku]
	return p, ok
}

// all returns the products, shorter SKUs first, so that 2 stands before 10.
func (c *catalogue) all() []product {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.SortedFunc(maps.Values(c.products), func(a, b product) int {
		if len(a.SKU) != len(b.SKU) {
			return len(a.SKU) - len(b.SKU)
		}
		return slices.Compare([]byte(a.SKU), []byte(b.SKU))
	})
}

// price sets what a product costs; an unknown SKU becomes a new product.
func (c *catalogue) price(sku string, cents int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.products[sku]
	if !ok {
		p = product{SKU: sku, Name: "new product " + sku}
	}
	p.Cents = cents
	c.products[sku] = p
}

// parsePrice reads a price in the shop's currency: "12" or "12.50".
func parsePrice(s string) (cents int, err error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0 && f <= 1e6) { // NaN fails both
		return 0, fmt.Errorf("price %q: want a number from 0 to 1000000", s)
	}
	return int(f*100 + 0.5), nil
}

func money(cents int) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }
