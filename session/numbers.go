package session

import (
	enc "encoding"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// Numbers in interfaces are decoded as [json.Number] first, since a float64
// rounds integers beyond 2^53, and are then settled.

// anyTypes caches [holdsAny] by type.
var anyTypes sync.Map // of reflect.Type to bool

var unmarshalers = [...]reflect.Type{reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[enc.TextUnmarshaler]()}

// holdsAny reports whether JSON decoded into a t may leave a value in an
// interface.
func holdsAny(t reflect.Type) bool {
	if known, ok := anyTypes.Load(t); ok {
		return known.(bool)
	}
	holds := reachesAny(t, make(map[reflect.Type]bool))
	anyTypes.Store(t, holds)
	return holds
}

func reachesAny(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] || decodesItself(t) {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return reachesAny(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); (f.IsExported() || f.Anonymous) && reachesAny(f.Type, seen) {
				return true
			}
		}
	}
	return false
}

// decodesItself reports whether a type reads its JSON itself, and so knows what
// it does with numbers.
func decodesItself(t reflect.Type) bool {
	for _, u := range unmarshalers {
		if t.Kind() != reflect.Interface && (t.Implements(u) || reflect.PointerTo(t).Implements(u)) {
			return true
		}
	}
	return false
}

// settleNumbers gives the numbers in v's interfaces the types that [Value]
// promises. v has just been decoded, so it leads nowhere in a circle.
func settleNumbers(v reflect.Value) {
	if !holdsAny(v.Type()) {
		return
	}
	switch v.Kind() {
	case reflect.Interface:
		if v.CanSet() && !v.IsNil() {
			v.Set(reflect.ValueOf(settled(v.Interface())))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			settleNumbers(v.Elem())
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			settleNumbers(v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			elem := reflect.New(v.Type().Elem()).Elem()
			elem.Set(v.MapIndex(key))
			settleNumbers(elem)
			v.SetMapIndex(key, elem)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() || f.Anonymous {
				settleNumbers(v.Field(i))
			}
		}
	}
}

// settled returns v, what an interface holds, with its numbers as [Value] promises
// them.
func settled(v any) any {
	switch v := v.(type) {
	case json.Number:
		return number(v)
	case map[string]any:
		for key, elem := range v {
			v[key] = settled(elem)
		}
	case []any:
		for i, elem := range v {
			v[i] = settled(elem)
		}
	}
	return v
}

// number returns what n is, as a float64 if that does not round it.
func number(n json.Number) any {
	f, err := n.Float64()
	if err != nil {
		return n // beyond its range
	}
	if i, err := n.Int64(); err == nil && (i < -1<<53 || i > 1<<53) && !(-1<<63 < f && f < 1<<63 && int64(f) == i) {
		return i
	} else if err == nil || strings.ContainsAny(n.String(), ".eE") {
		return f
	}
	if u, err := strconv.ParseUint(n.String(), 10, 64); err == nil {
		return u
	}
	return n
}
