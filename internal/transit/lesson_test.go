package transit

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// list is a handler that cannot be compared.
type list []int

func (list) ServeHTTP(http.ResponseWriter, *http.Request) {}

type part struct{ n int }

func (*part) ServeHTTP(http.ResponseWriter, *http.Request) {}

func TestLessonGoesFromStageToStage(t *testing.T) {
	a, b := &part{1}, &part{2}
	var n atomic.Uint64
	var l Lesson
	if l.Takes(a) {
		t.Error("nobody has handed it on")
	}
	for name, next := range map[string]http.Handler{"another": b, "what cannot be compared": list{1}, "a function": http.HandlerFunc(list{}.ServeHTTP)} {
		if l.Hand(next); l.Takes(a) {
			t.Errorf("%s was named, and a takes part", name)
		}
	}
	l.Hand(a)
	if !l.Takes(a) || l.Takes(a) {
		t.Error("a takes part, and once")
	}
	l.Pass(Stage{&n, 0, nil}, b)
	if !l.Takes(b) {
		t.Error("b takes part")
	}
	_, stages := l.Learned()
	if len(stages) != 1 || !stages[0].Holds() {
		t.Errorf("stages: %v", stages)
	}
	n.Add(1)
	if stages[0].Holds() {
		t.Error("holds, and has changed")
	}
	for range maxStages {
		l.Pass(Stage{&n, 1, nil}, a)
	}
	if l.Hand(nil); l.Takes(nil) {
		t.Error("nobody is nobody")
	}
}

func TestTooManyStagesTeachNothing(t *testing.T) {
	a := new(part)
	var n atomic.Uint64
	var l Lesson
	for range maxStages + 1 {
		l.Hand(nil)
		l.Pass(Stage{&n, 0, nil}, a)
	}
	if l.Takes(a) {
		t.Error("who is next of more stages than are kept")
	}
}

// TestACopyTeachesNothing: what goes on with a request's record is not what the
// client has asked for.
func TestACopyTeachesNothing(t *testing.T) {
	a := new(part)
	ctx, rec := With(context.Background())
	rec.Lesson.Hand(a)
	_, detached := Detach(ctx)
	_, aside := Aside(httptest.NewRequest("GET", "/", nil).WithContext(ctx))
	if detached.Lesson.Takes(a) || aside.Lesson.Takes(a) || !rec.Lesson.Takes(a) {
		t.Error("a copy takes part")
	}
}
