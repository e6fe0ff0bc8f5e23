package shop

import (
	"net/http"
	"strings"

	"github.com/foretier/foretier/cache"
)

// Magento returns the rules for Magento 2 and its kin, whose caching application is
// set to Varnish.
//
// Stored is what Magento says is public, with what it varies on in the key: the cookie
// X-Magento-Vary of customers, currencies and store views, and for GraphQL by GET the
// fields Store, Content-Currency and X-Magento-Cache-Id. What the answer sets
// X-Magento-Vary or X-Magento-Cache-Id to must be what was asked with, so that nobody
// fills the pages of a group by naming it. Customer and checkout pages,
// and whatever has an Authorization, pass; but for GraphQL with a cache id, whose
// answers are kept apart from those for guests. Errors are not stored. Answers that
// change a visitor's private content or tell a message are the visitor's alone, the
// others lose their Set-Cookie. Parameters of marketing are dropped, the rest sorted.
// Browsers are told to keep no page, only what lies in media and static.
//
// Purges are read as Magento sends them: a PURGE with X-Magento-Tags-Pattern, or with
// X-Pool for what was answered with that field.
//
// A theme by User-Agent (design exceptions) has no place in the key: add
// [cache.Plan.Classes] for it.
func Magento() cache.Rules {
	return cache.Rules{Plan: magentoPlan, Retention: magentoRetention, Purge: magentoPurge}
}

const (
	magentoVary     = "X-Magento-Vary"
	magentoCacheID  = "X-Magento-Cache-Id"
	magentoPatterns = "X-Magento-Tags-Pattern"
	magentoPool     = "X-Pool"
)

// magentoQuery holds the parameters that Magento itself ignores, see
// Magento\Framework\App\PageCache\Identifier.
var magentoQuery = cache.Query{Sort: true, Drop: []string{
	"_branch_match_id", "_bta_*", "_ga", "_gl", "_ke", "_kx", "campid", "ceneo_cid", "clickId", "cof", "customid", "cx",
	"dclid", "dm_i", "ef_id", "epik", "fbclid", "gad_*", "gbraid", "gclid", "gclsrc", "gdffi", "gdfms", "gdftrk", "hsa_*",
	"igshid", "matomo_*", "mc_*", "mkcid", "mkevt", "mkrid", "mkwid", "msclkid", "mtm_*", "pcrid", "piwik_*", "pk_*",
	"redirect_log_mongo_id", "redirect_mongo_id", "s_kwcid", "sb_referer_host", "ScCid", "siteurl", "snrai_*", "srsltid",
	"tduid", "trk_*", "utm_*", "wbraid", "zanpid",
}}

func magentoPlan(r *http.Request) cache.Plan {
	path := strings.ToLower(r.URL.Path)
	plan := cache.Plan{Query: magentoQuery, Shared: true}
	switch {
	case strings.Contains(path, "/customer") || strings.Contains(path, "/checkout"):
		plan.Pass, plan.Why = true, "customer or checkout"
	case path == "/health_check.php" || path == "/pub/health_check.php":
		plan.Pass, plan.Why = true, "health check"
	case magentoStatic(path):
		plan.Cookies, plan.Why = []string{}, "static"
	case strings.Contains(path, "/graphql"):
		return graphQL(r, plan)
	case r.Header["Authorization"] != nil:
		plan.Pass, plan.Why = true, "authorization"
	default:
		plan.Key, plan.Why = part(nil, magentoVary, cookie(r, magentoVary)), "page"
	}
	return plan
}

func magentoStatic(path string) bool {
	return under(strings.TrimPrefix(path, "/pub"), "/media", "/static") && !strings.Contains(path, "..")
}

// graphQL plans a query by GET.
func graphQL(r *http.Request, plan cache.Plan) cache.Plan {
	plan.Why = "GraphQL"
	id := one(r.Header[magentoCacheID])
	switch authorization := r.Header["Authorization"]; {
	case id != "":
		plan.Key = part(plan.Key, magentoCacheID, id)
		if authorization != nil {
			plan.Key = append(plan.Key, "authorized")
		}
	case authorization != nil:
		plan.Pass, plan.Why = true, "authorization without a cache id"
		return plan
	default:
		plan.Key = part(plan.Key, magentoVary, cookie(r, magentoVary))
	}
	for _, name := range [...]string{"Store", "Content-Currency"} {
		plan.Key = part(plan.Key, name, one(r.Header[name]))
	}
	return plan
}

// one joins the lines of a field.
func one(lines []string) string { return strings.Join(lines, ", ") }

func magentoRetention(r *http.Request, head cache.Head, v cache.Retention) cache.Retention {
	static := magentoStatic(strings.ToLower(r.URL.Path))
	if !static && !private(head.Header) {
		v.Downstream = notInBrowsers
	}
	for _, pool := range head.Header[magentoPool] {
		v.Tags = append(v.Tags, magentoPool+": "+strings.TrimSpace(pool))
	}
	switch id, vary := keyed(head.Key, magentoCacheID), keyed(head.Key, magentoVary); {
	case !v.Store && !v.SetsCookie:
		return v
	case head.Status == http.StatusForbidden || head.Status == http.StatusNotFound || head.Status >= 500:
		return refuse(v, "an error")
	case static:
		return v
	case id != "" && head.Header.Get(magentoCacheID) != id:
		return refuse(v, "of another cache id")
	case id == "" && !ofGroup(head.Header, vary):
		return refuse(v, "of another group of customers")
	case sets(head.Header, "private_content_version", "mage-messages"):
		return refuse(v, "changes private content")
	default:
		return keep(v, id != "" || vary != "")
	}
}

// ofGroup reports whether a response was made for a group of customers, "" that of
// guests: Magento sets the cookie for all others with every answer.
func ofGroup(h http.Header, vary string) bool {
	value, _ := setCookie(h, magentoVary)
	return value == vary
}

func magentoPurge(r *http.Request) (list []cache.Invalidation, err error) {
	for _, f := range [...]struct{ field, prefix string }{{magentoPatterns, ""}, {magentoPool, magentoPool + ": "}} {
		if lines := r.Header[f.field]; lines != nil {
			inv, err := patternOf(f.field, f.prefix, lines)
			if err != nil {
				return nil, err
			}
			list = append(list, inv)
		}
	}
	return list, nil
}
