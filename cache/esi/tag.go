package esi

import "strings"

// A tag is one of ours, taken apart.
type tag struct {
	name       string
	closes     bool   // </esi:name>
	empty      bool   // <esi:name/>
	attributes string // as they were written
}

// readTag takes a whole tag apart.
func readTag(raw string) (t tag) {
	var body string
	if body, t.closes = strings.CutPrefix(raw, closeTag); !t.closes {
		body = strings.TrimPrefix(raw, openTag)
	}
	body = strings.TrimSuffix(body, ">")
	body, t.empty = strings.CutSuffix(body, "/")
	end := strings.IndexAny(body, " \t\r\n/")
	if end < 0 {
		end = len(body)
	}
	t.name, t.attributes = body[:end], body[end:]
	return t
}

// An include is what an esi:include asks for.
type include struct {
	src, alt string
	optional bool // onerror="continue": nobody is told that it is missing
}

// readInclude reads the attributes of an esi:include, and reports whether they are
// attributes, src among them. Of two with one name the first counts; other names are
// for other processors.
func readInclude(s string) (in include, ok bool) {
	seen := make(map[string]string, 3)
	for {
		if s = strings.TrimLeft(s, " \t\r\n"); s == "" {
			break
		}
		name, rest, found := strings.Cut(s, "=")
		name, rest = strings.TrimRight(name, " \t\r\n"), strings.TrimLeft(rest, " \t\r\n")
		if !found || name == "" || strings.ContainsAny(name, " \t\r\n\"'/") || rest == "" || rest[0] != '"' && rest[0] != '\'' {
			return in, false
		}
		value, after, closed := strings.Cut(rest[1:], rest[:1])
		if !closed {
			return in, false
		}
		if _, twice := seen[name]; !twice {
			seen[name] = entities.Replace(value)
		}
		s = after
	}
	in.src, in.alt, in.optional = seen["src"], seen["alt"], seen["onerror"] == "continue"
	return in, in.src != ""
}

// entities are those that XML knows by itself. Shops write URLs with and without them.
var entities = strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">", "&quot;", `"`, "&apos;", "'")
