package main

import "strings"

// reasons say why a test fails, and is to fail; a key that ends in * stands
// for all that begin so.
var reasons = map[string]string{
	"age-parse-*":                         "wants an invalid or repeated Age to make the response stale; RFC 9111, section 5.1, has a cache ignore what is invalid and use the first of several",
	"stale-close-*":                       "wants an answer that came from the origin, which has closed the connection; through a proxy that is a 502, and the test cannot tell it from a stored response",
	"headers-store-Set-Cookie":            "a response that sets a cookie is not shared; a rule can allow it (`Retention.Store`)",
	"304-etag-update-response-Set-Cookie": "a response that sets a cookie is not shared",
	"other-set-cookie":                    "a response that sets a cookie is not shared",
	"headers-store-Transfer-Encoding":     "the origin invents a transfer coding; such a response cannot be framed and is answered 502",
	"304-etag-update-response-ETag":       "the 304 carries another ETag than was asked about; RFC 9111, section 4.3.4, forbids to update by it, so the origin is asked again without conditions, which the suite counts as a retry",
	"conditional-lm-fresh-no-lm":          "wants 304 for a date before the response's own Date; RFC 9111, section 4.3.2, wants it for the Date or later",
	"invalidate-M-SEARCH*":                "after a method that nobody has registered, what is stored is stale and served once more within grace while one fetch follows: anybody can send such a method",
	"partial-store-partial-*":             "the part says that it ends at byte 9 and ends at byte 8; byte 9, which is asked for, is not stored",
	"partial-store-partial-complete":      "a stored beginning is completed if it has a strong validator; without one nothing would say that the rest belongs to it (RFC 9110, section 15.3.7.3), so the whole is asked for",
}

// reason returns why a test fails: the most special one.
func reason(id string) string {
	if why, ok := reasons[id]; ok {
		return why
	}
	for pattern, why := range reasons {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasPrefix(id, prefix) {
			return why
		}
	}
	return ""
}
