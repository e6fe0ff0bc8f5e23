package http2

import "strings"

// A Priority is that of an answer (RFC 9218, section 4).
type Priority struct {
	Urgency     uint8 // 0 is first, 7 last
	Incremental bool  // it is of use in parts, so others may be sent between them
}

// Fair is the priority of an answer of which nobody has said any. Its urgency is the
// usual one; RFC 9218 would have such answers sent one after the other, which clients
// that know nothing of it do not expect.
var Fair = Priority{Urgency: 3, Incremental: true}

// ParsePriority reads a Priority field (RFC 9218, section 4; RFC 8941): what it does not
// know it passes over, and what it cannot read says nothing.
func ParsePriority(field string) Priority {
	p := Priority{Urgency: 3}
	for field != "" {
		var member string
		member, field, _ = strings.Cut(field, ",")
		member = strings.Trim(member, " \t")
		key, value, valued := strings.Cut(member, "=")
		value, _, _ = strings.Cut(value, ";") // a member's parameters
		switch key, _, _ = strings.Cut(key, ";"); key {
		case "u":
			if len(value) == 1 && '0' <= value[0] && value[0] <= '7' {
				p.Urgency = value[0] - '0'
			}
		case "i":
			p.Incremental = !valued || value == "?1"
		}
	}
	return p
}
