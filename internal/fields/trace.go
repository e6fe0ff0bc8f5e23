package fields

// TraceID returns the trace-id of a traceparent field, or "" where that is none (W3C Trace
// Context, section 3.2): of a later version as far as this one knows it.
func TraceID(traceparent string) string {
	const id, parent, flags, length = 3, 36, 53, 55
	s := traceparent
	switch {
	case len(s) < length || s[id-1] != '-' || s[parent-1] != '-' || s[flags-1] != '-':
	case len(s) > length && (s[:2] == "00" || s[length] != '-'):
	case s[:2] == "ff":
	case !lowerHex(s[:2]) || !lowerHex(s[id:parent-1]) || !lowerHex(s[parent:flags-1]) || !lowerHex(s[flags:length]):
	case zeros(s[id:parent-1]) || zeros(s[parent:flags-1]):
	default:
		return s[id : parent-1]
	}
	return ""
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func zeros(s string) bool {
	for i := range len(s) {
		if s[i] != '0' {
			return false
		}
	}
	return true
}
