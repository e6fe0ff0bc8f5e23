package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// verbs are what [Cache.Act] does: each of what can be named, at once or softly.
var verbs = []string{
	"purge url", "purge tag", "purge host", "purge all",
	"soft purge url", "soft purge tag", "soft purge host", "soft purge all",
}

// Act implements [health.Actor], of the cache itself: "purge url", "purge tag",
// "purge host" and "purge all", with the URL, the tags or the host as the argument, and
// none for all. It is [Cache.Invalidate] with Hard set; "soft purge tag" and so on are
// without. An error says what would be right, and then nothing is purged, unless it wraps
// [ErrNotShared].
func (c *Cache) Act(ctx context.Context, part, verb, arg string) error {
	if part != c.opts.Name {
		return fmt.Errorf("cache: %q is no part of the cache %q", part, c.opts.Name)
	}
	inv, err := ordered(verb, arg)
	if err != nil {
		return fmt.Errorf("cache: nothing purged: %w", err)
	}
	_, err = c.Invalidate(ctx, inv)
	return err
}

// ordered returns what is ordered by a verb of verbs and its argument.
func ordered(verb, arg string) (inv Invalidation, err error) {
	rest, soft := strings.CutPrefix(verb, "soft ")
	inv.Hard = !soft
	words := strings.Fields(arg)
	switch rest {
	case "purge url":
		if len(words) != 1 {
			return inv, fmt.Errorf("%q: want a URL such as https://shop.example/product/7", arg)
		}
		inv.URL = words[0]
	case "purge tag":
		words = strings.FieldsFunc(arg, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
		if len(words) == 0 || strings.ContainsAny(arg, noTag) {
			return inv, fmt.Errorf("%q: want tags, separated by commas or blanks, and no pattern: product-7", arg)
		}
		inv.Tags = words
	case "purge host":
		if len(words) != 1 {
			return inv, fmt.Errorf("%q: want a host such as shop.example", arg)
		}
		inv.Host = words[0]
	case "purge all":
		if len(words) != 0 {
			return inv, fmt.Errorf("%q: all needs no further word; one thing is named by url, tag or host", arg)
		}
		inv.All = true
	default:
		return inv, errors.New("want " + strings.Join(verbs, ", "))
	}
	return inv, nil
}
