package cache

import (
	"reflect"
	"testing"
	"unsafe"
)

// TestWireHasEveryField fills each field of a matcher, those to come too, and has it
// read back: what is left out would not be purged at other gateways.
func TestWireHasEveryField(t *testing.T) {
	var m matcher
	v := reflect.ValueOf(&m).Elem()
	for i := range v.NumField() {
		field := v.Field(i)
		field = reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem() // they are unexported
		switch field.Kind() {
		case reflect.Bool:
			field.SetBool(true)
		case reflect.String:
			field.SetString("a\xff\"<é" + v.Type().Field(i).Name)
		case reflect.Slice:
			field.Set(reflect.ValueOf([]uint64{1, 1<<64 - 1}))
		default:
			t.Fatalf("no value for %s", v.Type().Field(i).Name)
		}
	}
	data, err := encode(m, "me", 7, true)
	if err != nil {
		t.Fatal(err)
	}
	w, err := decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.matcher(); !reflect.DeepEqual(got, m) || w.From != "me" || !w.Waits {
		t.Errorf("%s: got %+v of %+v", data, got, m)
	}
}

func TestWireOfAnother(t *testing.T) {
	for _, data := range []string{"", "{}", `{"v":2,"all":true}`, `{"v":1,"all":true,"unless":"x"}`, "null"} {
		if w, err := decode([]byte(data)); err == nil {
			t.Errorf("%s: got %+v", data, w)
		}
	}
}
