package fields

import "testing"

func TestTraceID(t *testing.T) {
	const id, rest = "4bf92f3577b34da6a3ce929d0e0e4736", "-00f067aa0ba902b7-01"
	for traceparent, want := range map[string]string{
		"00-" + id + rest:                   id,
		"00-" + id + rest[:18] + "00":       id,
		"01-" + id + rest:                   id, // a later version
		"cc-" + id + rest + "-more":         id,
		"00-" + id + rest + "-more":         "",
		"cc-" + id + rest + ".more":         "",
		"ff-" + id + rest:                   "",
		"0-" + id + rest:                    "",
		"":                                  "",
		id:                                  "",
		"00-" + id + rest[:19]:              "",
		"00-" + id + "-00f067aa0ba902b7-0x": "",
		"00-" + id + "-00f067AA0ba902b7-01": "",
		"00-4BF92f3577b34da6a3ce929d0e0e4736" + rest: "",
		"0g-" + id + rest: "",
		"00-00000000000000000000000000000000" + rest:    "",
		"00-" + id + "-0000000000000000-01":             "",
		"00_" + id + rest:                               "",
		"00-" + id + "_00f067aa0ba902b7-01":             "",
		"00-" + id + "-00f067aa0ba902b7_01":             "",
		" 00-" + id + rest:                              "",
		"00-" + id + rest + "\r\n":                      "",
		"00-4bf92f3577b34da6a3ce929d0e0e473\x80" + rest: "",
		"00-" + id + rest + ",00-" + id + rest:          "",
	} {
		if got := TraceID(traceparent); got != want {
			t.Errorf("%q: %q, want %q", traceparent, got, want)
		}
	}
}

func FuzzTraceID(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Fuzz(func(t *testing.T, s string) {
		if id := TraceID(s); id != "" && (len(id) != 32 || !lowerHex(id) || s[3:35] != id) {
			t.Errorf("%q: %q", s, id)
		}
	})
}
