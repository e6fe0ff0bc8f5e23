package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/redislimit"
)

// A limitRule says how much visitors may ask for of some paths.
type limitRule struct {
	paths []string // none: all that no other rule takes
	limit router.Limit
}

const limitExample = "'/api/* 5/s burst 20 header X-Api-Key', or '* 600/m'"

func (f *flags) registerLimits(fs *flag.FlagSet) {
	fs.Func("limit", "`PATHS RATE ...` how many requests a visitor may send, such as "+limitExample+" for all that is not -admin's: a number for each s, m or h; perhaps burst and how many at once; perhaps header or cookie and the name of the one by which visitors are told apart, in place of their addresses. Beyond, they get 429 (may be repeated: the first that has the path)", func(s string) error {
		l, err := parseLimit(s)
		f.c.limits = append(f.c.limits, l)
		return err
	})
	fs.StringVar(&f.c.limitRedis, "limit-redis", "", "redis:// `URL` by which gateways count together for -limit (empty: each for itself, as while Redis is away)")
}

func (f *flags) checkLimitRules() {
	c := &f.c
	if c.limitRedis != "" {
		f.check("limit-redis", c.limitRedis, checkRedis(c.limitRedis))
	}
	if len(c.limits) == 0 {
		f.unused(map[string]string{"limit-redis": c.limitRedis}, "it needs -limit, such as -limit "+limitExample)
	}
	for i, l := range c.limits {
		if len(l.paths) == 0 && i != len(c.limits)-1 {
			f.check("limit", "*", errors.New("want it as the last -limit: it takes all paths"))
		}
	}
}

// parseLimit reads PATHS RATE, and pairs of a word and a value.
func parseLimit(s string) (l limitRule, err error) {
	words := strings.Fields(s)
	if len(words) < 2 || len(words)%2 != 0 {
		return l, errors.New("want paths, a rate and perhaps more, such as " + limitExample)
	}
	if words[0] != "*" {
		l.paths = list(words[0])
	}
	for _, path := range l.paths {
		if err := checkPath(strings.TrimSuffix(path, "/*"), "/api/*"); err != nil {
			return l, fmt.Errorf("%q: %w", path, err)
		}
	}
	if l.limit.Rate, err = parseRate(words[1]); err != nil {
		return l, err
	}
	for i := 2; i < len(words); i += 2 {
		switch word, value := words[i], words[i+1]; word {
		case "burst":
			if l.limit.Burst, err = strconv.Atoi(value); err != nil || l.limit.Burst < 1 {
				return l, fmt.Errorf("burst %q: want a number such as 20", value)
			}
		case "header", "cookie":
			if l.limit.By != nil {
				return l, errors.New("want one header or one cookie")
			}
			if l.limit.By = router.ByHeader(value); word == "cookie" {
				l.limit.By = router.ByCookie(value)
			}
		default:
			return l, fmt.Errorf("%q: want burst, header or cookie", word)
		}
	}
	_, err = router.NewLimiter("limit", l.limit)
	return l, err
}

// parseRate reads requests for each s, m or h.
func parseRate(s string) (float64, error) {
	number, unit, _ := strings.Cut(s, "/")
	n, err := strconv.ParseFloat(number, 64)
	per := map[string]float64{"s": 1, "m": 60, "h": 3600}[unit]
	if err != nil || !(n > 0) || per == 0 {
		return 0, fmt.Errorf("%q is no rate: want a number for each s, m or h, such as 5/s", s)
	}
	return n / per, nil
}

// shareLimits has the limits count where all gateways do, if that is wanted.
func (t *tier) shareLimits() error {
	c := t.config
	if c.limitRedis == "" {
		return nil
	}
	opts, err := redis.ParseURL(c.limitRedis)
	if err != nil {
		return fmt.Errorf("-limit-redis: %w", err)
	}
	opts.ContextTimeoutEnabled = true
	opts.MaxRetries, opts.DialerRetries = -1, 1 // nobody waits for it
	client := redis.NewClient(opts)
	shared, err := redislimit.New(client, redislimit.Options{Logger: t.log})
	if err != nil {
		return errors.Join(fmt.Errorf("-limit-redis: %w", err), client.Close())
	}
	t.closers = append([]io.Closer{shared, client}, t.closers...)
	t.reporters = append(t.reporters, shared)
	for i := range c.limits {
		c.limits[i].limit.Store = shared
	}
	return nil
}

// limited returns the rules of the shop with their limits: those of some paths before the
// one that takes the rest.
func (c *config) limited(rest router.Rule) (rules []router.Rule) {
	for i, l := range c.limits {
		rule := rest
		if rule.Limit = l.limit; len(l.paths) == 0 {
			return append(rules, rule)
		}
		rule.Name, rule.When = fmt.Sprintf("%s, limit %d", rest.Name, i+1), router.Path(l.paths...)
		rules = append(rules, rule)
	}
	return append(rules, rest)
}
