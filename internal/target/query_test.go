package target

import (
	"fmt"
	"testing"
)

func TestParameters(t *testing.T) {
	for query, want := range map[string]string{
		"": "", "&&": "", "a": `"a"=""`, "=": `""=""`, "a=1&b=2&a=3": `"a"="1" "b"="2" "a"="3"`,
		"a=b=c": `"a"="b=c"`, "a+b=%2B+%26&%zz=%": `"a b"="+ &" "%zz"="%"`, "%c3%a9=%ff": `"é"="\xff"`, "a;b=1": `"a;b"="1"`,
	} {
		got, sep := "", ""
		for name, value := range Parameters(query) {
			got += fmt.Sprintf("%s%q=%q", sep, name, value)
			sep = " "
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	for range Parameters("a&b") {
		break
	}
}
