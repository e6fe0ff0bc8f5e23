package main

import (
	"html"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func named(t *testing.T, id, who string, lasts time.Duration) *stats {
	t.Helper()
	for _, sc := range scenarios {
		for _, c := range contenders {
			if sc.id == id && strings.HasPrefix(c.name, who) {
				sc.lasts = lasts
				return merge([]*stats{sc.play(c, 1)})
			}
		}
	}
	t.Fatalf("no scenario %s with %s", id, who)
	return nil
}

func TestTheSameSeedGivesTheSameRun(t *testing.T) {
	a, b := named(t, "S3", "adaptive", 5*time.Second), named(t, "S3", "adaptive", 5*time.Second)
	if a.asked != b.asked || a.quantile(.99) != b.quantile(.99) || a.balance() != b.balance() {
		t.Errorf("%d requests, %v; and %d, %v", a.asked, a.quantile(.99), b.asked, b.quantile(.99))
	}
}

// TestTheDefaultKeepsItsPlace holds what the table shows, with room for noise.
func TestTheDefaultKeepsItsPlace(t *testing.T) {
	const short = 14 * time.Second // faults begin at 10 s
	if a, l := named(t, "S1", "adaptive", 8*time.Second), named(t, "S1", "leastconn", 8*time.Second); a.quantile(.99) > l.quantile(.99)*11/10 {
		t.Errorf("equal servers: %v, and %v if all are compared", a.quantile(.99), l.quantile(.99))
	}
	if a, l := named(t, "S2", "adaptive", 8*time.Second), named(t, "S2", "leastconn", 8*time.Second); a.quantile(.999) > l.quantile(.999)*8/10 {
		t.Errorf("two slow servers: %v, and %v by requests in hand alone", a.quantile(.999), l.quantile(.999))
	}
	if a := named(t, "S4", "adaptive", short); a.failed > 0 || a.bad > 30 {
		t.Errorf("one that answers 500: %d failed, %d bad attempts", a.failed, a.bad)
	}
	if a := named(t, "S6", "adaptive", short); a.failed > 0 || a.bad > 10 {
		t.Errorf("one that refuses: %d failed, %d bad attempts", a.failed, a.bad)
	}
	if a := named(t, "S5", "adaptive", short); a.over(time.Second) > 0.01 {
		t.Errorf("one that hangs: %.2f%% took over a second", 100*a.over(time.Second))
	}
	if a, w := named(t, "S12", "adaptive", 8*time.Second), named(t, "S12", "leastconn", 8*time.Second); a.quantile(.99) > w.quantile(.99) {
		t.Errorf("streams: %v, and %v if each counts as a request", a.quantile(.99), w.quantile(.99))
	}
}

func TestPicture(t *testing.T) {
	sc := scenarios[0]
	var results []*stats
	for range contenders {
		results = append(results, &stats{asked: 2, failed: 1, took: []time.Duration{time.Millisecond}})
	}
	got := picture(sc, results)
	if !strings.HasPrefix(got, "<svg") || !strings.Contains(got, "adaptive") || !strings.Contains(got, "50% failed") {
		t.Error(got)
	}
}

// TestPicturesAreWhatIsPlayed: the pictures beside the words are those that the command
// draws. One is drawn anew, of the scenario that is played soonest: whatever changes a
// policy or the figures around it changes that too.
func TestPicturesAreWhatIsPlayed(t *testing.T) {
	words, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	const anew = "S12"
	for _, sc := range scenarios {
		file := filepath.Join("svg", sc.id+".svg")
		drawn, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if want := `<img src="svg/` + sc.id + `.svg" alt="` + sc.id + ": " + sc.title + `"`; !strings.Contains(string(words), want) {
			t.Errorf("README.md does not show %s", want)
		}
		for _, text := range append(names(), sc.title) {
			if !strings.Contains(string(drawn), html.EscapeString(text)) {
				t.Errorf("%s lacks %q: go run ./balancer/internal/simulator -svg balancer/internal/simulator/svg", file, text)
			}
		}
		// Elsewhere floating point may round otherwise, as where there are fused operations.
		if sc.id == anew && runtime.GOARCH == "amd64" && picture(sc, sc.compare(5)) != string(drawn) {
			t.Errorf("%s is not what is played: go run ./balancer/internal/simulator -svg balancer/internal/simulator/svg", file)
		}
	}
}

// names are those of the contenders.
func names() (all []string) {
	for _, who := range contenders {
		all = append(all, who.name)
	}
	return all
}
