package php

import "strings"

// Values are a session's variables, by name. A value is nil, a bool, an int64,
// a float64, a string, an Array or an Opaque.
type Values map[string]any

// An Array is a PHP array or the fields of an object. Integer keys are in
// decimal; private and protected fields go by their plain names.
type Array map[string]any

// Opaque is a value that is there and was not looked into: a reference, an
// enum, or an object that serialized itself.
type Opaque struct{}

// Has reports whether the path leads to something that PHP does not call empty.
// A path ends at an [Opaque], which counts as something.
func (v Values) Has(path string) bool {
	here := any(Array(v))
	for name := range strings.SplitSeq(path, "/") {
		if _, ok := here.(Opaque); ok {
			return true
		}
		array, ok := here.(Array)
		if !ok {
			return false
		}
		if here, ok = array[name]; !ok {
			return false
		}
	}
	return !empty(here)
}

// empty is PHP's function of that name.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case int64:
		return v == 0
	case float64:
		return v == 0
	case string:
		return v == "" || v == "0"
	case Array:
		return len(v) == 0
	}
	return false
}
