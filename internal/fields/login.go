package fields

import "strings"

// WithoutLogin returns a URL as it may be shown: without the user and password in front
// of its host, for which "..." stands. What has no scheme is no URL.
func WithoutLogin(s string) string {
	at := strings.IndexByte(s, '@')
	if at < 0 {
		return s
	}
	from := strings.Index(s[:at], "://")
	if from < 0 {
		return s
	}
	from += len("://")
	to := len(s)
	if i := strings.IndexAny(s[from:], "/?#"); i >= 0 {
		to = from + i
	}
	last := strings.LastIndexByte(s[from:to], '@')
	if last < 0 {
		return s
	}
	return s[:from] + "..." + s[from+last:]
}

// AfterLogin returns what a Host field names as it may be shown: likewise.
func AfterLogin(host string) string {
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		return "..." + host[at:]
	}
	return host
}
