package main

import (
	"errors"
	"net/http"
	"strings"

	"github.com/foretier/foretier/router"
)

// noMedia is the value of -media by which nothing is asked of the origin that is not
// admin's.
const noMedia = "none"

// listMedia splits -media. Without it a shop's own paths count, if there is an origin.
func (f *flags) listMedia() {
	c := &f.c
	switch {
	case f.media == noMedia:
	case f.set["media"]:
		c.media = list(f.media)
	case c.origin != "":
		c.media = presets[c.shop].media
	}
}

func (f *flags) checkMedia() {
	for _, p := range f.c.media {
		f.check("media", p, checkPath(strings.TrimSuffix(p, "/*"), "/media/*"))
	}
	if f.set["media"] && len(f.c.media) > 0 && f.c.origin == "" {
		f.check("media", f.media, errors.New("it needs -origin URL, the server where these files are written"))
	}
}

// mediaRules have files that an application server does not have yet asked for at the
// origin, and what comes of it cached like the rest.
func (t *tier) mediaRules() []router.Rule {
	if t.origin == nil || len(t.config.media) == 0 {
		return nil
	}
	var files http.Handler = router.Fallback(t.below, t.originFiles)
	if t.cache != nil {
		files = t.cache.Handler(files)
	}
	return []router.Rule{{Name: "media", When: router.Path(t.config.media...), To: files, Use: t.shows}}
}
