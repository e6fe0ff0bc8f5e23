package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/foretier/foretier/health/metrics"
)

// TestAlertsOnFiles: what alerts and pages ask of files is what the gateway reports of
// them, by labels that there are. Of all other metrics the root's tests hold that.
func TestAlertsOnFiles(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.New(&files{list: []*watched{{flag: "block"}}}))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	labels := make(map[string][]string) // of each metric
	for _, f := range families {
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels[f.GetName()] = append(labels[f.GetName()], l.GetName())
		}
	}
	for _, page := range []string{"alerts.yml", "../../docs/first-night.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		asked := regexp.MustCompile(`foretier_file_[a-z_]+`).FindAllString(string(text), -1)
		if len(asked) == 0 {
			t.Errorf("%s asks for nothing", page)
		}
		for _, name := range asked {
			if labels[name] == nil {
				t.Errorf("%s asks for %s, which nobody reports", page, name)
			}
		}
		for _, alert := range strings.Split(string(text), "- alert: ") {
			if !strings.Contains(alert, "foretier_file_") {
				continue
			}
			for _, l := range regexp.MustCompile(`\$labels\.([a-z_]+)`).FindAllStringSubmatch(alert, -1) {
				if l[1] != "instance" && !slices.Contains(labels["foretier_file_refused"], l[1]) {
					t.Errorf("%s names the label %s, which there is not", page, l[1])
				}
			}
		}
	}
}
