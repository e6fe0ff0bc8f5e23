package main

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/router"
)

// Guards are who is asked before something is shown: a file of passwords, a service.
type guardConfig struct {
	basic      string   // file
	basicPaths []string // none: all
	ask        string   // URL
	askPaths   []string // none: all
	askFields  []string
	askCookies []string
}

// userField is the one in which backends are told who has shown a password.
const userField = "X-Remote-User"

func (f *flags) registerGuards(fs *flag.FlagSet) {
	fs.StringVar(&f.c.guard.basic, "basic", "", "`FILE` of names and passwords, as htpasswd -B writes it, without which nothing is shown; it is read again when it changes, and backends are told the name in "+userField+" (serve HTTPS: passwords travel as they are)")
	fs.StringVar(&f.basicPaths, "basic-paths", "", "`PATHS` that -basic is for, whatever their spelling, such as /tools (empty: all)")
	fs.StringVar(&f.c.guard.ask, "ask", "", "`URL` of a service that says who may pass, as for Traefik's ForwardAuth and Caddy's forward_auth, such as http://10.0.0.30:4180/oauth2/auth: 2xx passes, what else it says goes to the visitor, and without its answer there is 503")
	fs.StringVar(&f.askPaths, "ask-paths", "", "`PATHS` that -ask is for, whatever their spelling, such as /tools (empty: all)")
	fs.StringVar(&f.askFields, "ask-fields", "", "`NAMES` of fields of its answers that backends are told, such as Remote-User,Remote-Groups (empty: none)")
	fs.StringVar(&f.askCookies, "ask-cookies", "", "`NAMES` of cookies by which, and by Authorization, the service decides: it is told no other field of the visitor's then, and its answers are kept for as long as their max-age says, 5 minutes at most (empty: it is told all, and asked for each request)")
}

func (f *flags) checkGuards() {
	g := &f.c.guard
	g.basicPaths, g.askPaths, g.askFields, g.askCookies = list(f.basicPaths), list(f.askPaths), list(f.askFields), list(f.askCookies)
	for name, paths := range map[string][]string{"basic-paths": g.basicPaths, "ask-paths": g.askPaths} {
		for _, p := range paths {
			f.check(name, p, checkPath(p, "/tools"))
		}
	}
	if g.basic == "" {
		f.unused(map[string]string{"basic-paths": f.basicPaths}, "it needs -basic FILE")
	}
	if f.warm != "" && (g.basic != "" && len(g.basicPaths) == 0 || g.ask != "" && len(g.askPaths) == 0) {
		f.check("warm", f.warm, errors.New("nobody lets it pass: want -basic-paths and -ask-paths without what it asks for"))
	}
	if g.ask == "" {
		f.unused(map[string]string{"ask-paths": f.askPaths, "ask-fields": f.askFields, "ask-cookies": f.askCookies}, "it needs -ask URL")
		return
	}
	pool, target, err := splitAsk(g.ask)
	if err == nil {
		err = checkBackend(pool)
	}
	f.check("ask", g.ask, err)
	if err == nil {
		_, err = router.NewAsk(http.NotFoundHandler(), g.options(target))
		f.check("ask", g.ask, err)
	}
}

// options are those of the service at a target.
func (g *guardConfig) options(target string) router.AskOptions {
	o := router.AskOptions{Target: target, Fields: g.askFields, Cookies: g.askCookies}
	if len(o.Cookies) > 0 {
		o.By = []string{"Authorization"}
	}
	return o
}

// splitAsk returns the server of a URL, and what is asked of it.
func splitAsk(s string) (server, target string, err error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Fragment != "" {
		return "", "", errors.New("want a URL such as http://10.0.0.30:4180/oauth2/auth")
	}
	target = u.RequestURI()
	return strings.TrimSuffix(s, target), target, nil
}

// A guard is middleware for some paths.
type guard struct {
	name  string
	paths []string // none: all
	use   func(http.Handler) http.Handler
}

// newGuards returns those that the flags name, the outermost first.
func (t *tier) newGuards() error {
	g := t.config.guard
	if g.basic != "" {
		var err error
		if t.basic, err = router.NewBasic(router.BasicOptions{Header: userField}); err != nil {
			return fmt.Errorf("-basic: %w", err)
		}
		t.guards = append(t.guards, guard{"basic", g.basicPaths, t.basic.Handler})
	}
	if g.ask == "" {
		return nil
	}
	server, target, err := splitAsk(g.ask)
	if err != nil {
		return fmt.Errorf("-ask: %w", err)
	}
	service, err := t.poolOf("ask", []string{server}, balancer.Options{})
	if err != nil {
		return fmt.Errorf("-ask: %w", err)
	}
	ask, err := router.NewAsk(service, g.options(target))
	if err != nil {
		return fmt.Errorf("-ask: %w", err)
	}
	t.reporters = append(t.reporters, ask)
	t.guards = append(t.guards, guard{"ask", g.askPaths, ask.Handler})
	return nil
}

// takeBasic has the users of a file be those who are let in.
func (t *tier) takeBasic(contents [][]byte) (string, error) {
	users, err := router.ParseHtpasswd(contents[0])
	if err == nil && len(users) == 0 {
		err = errors.New("there is nobody in it: want a line such as htpasswd -nB ann writes")
	}
	if err == nil {
		err = t.basic.Update(users)
	}
	return fmt.Sprintf("%d users", len(users)), err
}

// guarded returns rules with each guard before them. Of one that is for some paths there
// are two rules for each: which readings of a path are among these is for rules to judge.
func (t *tier) guarded(rules []router.Rule) []router.Rule {
	for i := len(t.guards) - 1; i >= 0; i-- {
		g := t.guards[i]
		var out []router.Rule
		if len(g.paths) > 0 {
			for _, r := range rules {
				behind := g.before(r)
				behind.Name += ", behind " + g.name
				if behind.When = router.Admin(g.paths...); r.When != nil {
					behind.When = router.All(behind.When, r.When)
				}
				out = append(out, behind)
			}
			rules = append(out, rules...)
			continue
		}
		for _, r := range rules {
			out = append(out, g.before(r))
		}
		rules = out
	}
	return rules
}

// before returns a rule behind the guard.
func (g *guard) before(r router.Rule) router.Rule {
	r.Use = append([]func(http.Handler) http.Handler{g.use}, r.Use...)
	return r
}
