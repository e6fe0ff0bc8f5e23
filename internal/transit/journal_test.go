package transit

import (
	"context"
	"errors"
	"log/slog"
	"testing"
)

type text string

func (t text) LogValue() slog.Value { return slog.StringValue(string(t)) }

func TestLinkShowsNotesAndCauseOfTheFetch(t *testing.T) {
	ctx, rec := With(context.Background())
	_, d := Detach(ctx)
	cause := errors.New("refused")
	d.Note("pool", text("tried a"))
	d.Fail(cause)
	d.Fail(errors.New("a consequence"))
	rec.Note("router", text("shop"))
	rec.Link(&d.Journal)
	rec.Link(&rec.Journal) // must not loop

	var got []string
	for part, v := range rec.Notes() {
		got = append(got, part+"="+v.LogValue().String())
	}
	want := []string{"router=shop", "pool=tried a"}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("Notes: got %q, want %q", got, want)
	}
	if rec.Cause() != cause {
		t.Errorf("Cause: got %v, want %v", rec.Cause(), cause)
	}
}
