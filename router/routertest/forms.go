package routertest

import (
	"fmt"
	"slices"
	"strings"
)

// Forms returns ways of writing a path below prefix that some server takes for
// it, or that none should accept: in another case, percent-encoded once or
// more often, with path parameters, behind blanks, doubled slashes, dot segments,
// scripts and authorities, and combinations of them.
func Forms(prefix string) []string {
	var out []string
	for _, inner := range inners {
		for _, outer := range outers {
			form := outer(inner(prefix))
			if !slices.Contains(out, form) {
				out = append(out, form)
			}
		}
	}
	for _, away := range aways {
		out = append(out, away(prefix))
	}
	return out
}

// inners write the path itself, outers what stands around it.
var inners = []func(string) string{
	func(p string) string { return p },
	strings.ToUpper,
	func(p string) string { return p[:1] + strings.ToUpper(p[1:min(2, len(p))]) + p[min(2, len(p)):] },
	func(p string) string { return escape(p, "%%%02x", 1) },
	func(p string) string { return escape(p, "%%%02X", len(p)) },
	func(p string) string { return escape(p, "%%25%02x", 1) },
	func(p string) string { return escape(p, "%%2525%02x", 1) },
	func(p string) string { return escape(p, "%%252525%02x", 1) },
	func(p string) string { return p + "/" },
	func(p string) string { return p + "/login" },
	func(p string) string { return p + "//login" },
	func(p string) string { return p + "/./login" },
	func(p string) string { return p + "?x=1" },
	func(p string) string { return p + ";x" },
	func(p string) string { return p + ";x=1/login" },
	func(p string) string { return p + "%3bx" },
	func(p string) string { return p + "%2flogin" },
	func(p string) string { return p + "%252flogin" },
	func(p string) string { return p + "%3fx=1" },
	func(p string) string { return p + "%23x" },
	func(p string) string { return p + "%00" },
	func(p string) string { return p + "%00.css" },
	func(p string) string { return p + "%5c" },
	func(p string) string { return p + "%255clogin" },
	func(p string) string { return p + "%0d%0aX-Pool:%20apps" },
	func(p string) string { return p + "\\login" },
	func(p string) string { return p + "#x" },
	func(p string) string { return p + "%" },
	func(p string) string { return p + "%u002flogin" },
}

// aways lead out of the path again: it is still there for servers that look at
// the first segment before they resolve, or not at all.
var aways = []func(string) string{
	func(p string) string { return p + strings.Repeat("/..", strings.Count(p, "/")) + "/other" },
	func(p string) string { return "/" + p + strings.Repeat("/..", strings.Count(p, "/")) + "/other" },
	func(p string) string { return p + strings.Repeat("%2f..", strings.Count(p, "/")) + "%2fother" },
	func(p string) string { return p + "%3F" + strings.Repeat("/..", strings.Count(p, "/")) + "/other.css" },
	func(p string) string {
		return "/index.php" + p + strings.Repeat("/..", strings.Count(p, "/")) + "/other"
	},
}

var outers = []func(string) string{
	func(p string) string { return p },
	func(p string) string { return "/" + p },
	func(p string) string { return "//" + p },
	func(p string) string { return "/%2f" + p[1:] },
	func(p string) string { return "/." + p },
	func(p string) string { return "/%2e" + p },
	func(p string) string { return "/;" + p },
	func(p string) string { return "/%20" + p[1:] },
	func(p string) string { return "/%20" + p },
	func(p string) string { return "/;x=1" + p },
	func(p string) string { return "/other/.." + p },
	func(p string) string { return "/other/%2e%2e" + p },
	func(p string) string { return "/other/.%2E/" + p },
	func(p string) string { return "/other/%252e%252e" + p },
	func(p string) string { return "/other/..;x=1" + p },
	func(p string) string { return "/other%2f..%2f" + p[1:] },
	func(p string) string { return "/other/x/../.." + p },
	func(p string) string { return "/other\\..\\" + p[1:] },
	func(p string) string { return "/.." + p },
	func(p string) string { return "/%c0%ae%c0%ae" + p },
	func(p string) string { return "/index.php" + p },
	func(p string) string { return "/INDEX.PHP/" + p },
	func(p string) string { return "/index.php;x" + p },
	func(p string) string { return "/index.php%2f" + p[1:] },
	func(p string) string { return "/index%2ephp" + p },
	func(p string) string { return "/de/index.php" + p },
	func(p string) string { return "/a.php/b.php" + p },
	func(p string) string { return "//other.example" + p },
	func(p string) string { return "http://shop.example" + p },
	func(p string) string { return "HTTPS://shop.example//" + p },
	func(p string) string { return "http:" + p },
	func(p string) string { return p[1:] },
}

// escape writes the first n letters behind the slash by format.
func escape(p, format string, n int) string {
	var b strings.Builder
	for i := range len(p) {
		if c := p[i]; c != '/' && i > 0 && i <= n {
			fmt.Fprintf(&b, format, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
