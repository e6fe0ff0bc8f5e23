// Package browsertest shows pages in Chromium, for tests.
package browsertest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// A Browser shows a page. It is the context of what is done with it.
type Browser struct {
	context.Context
	t      testing.TB
	output testkit.Log
}

// Open opens url in Chromium, until the test ends.
func Open(t testing.TB, url string) *Browser {
	t.Helper()
	b := &Browser{t: t}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(servertest.Require(t, "chromium")), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("enable-logging", "stderr"), chromedp.CombinedOutput(&b.output))...)
	t.Cleanup(cancel)
	b.Context, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b.Do(chromedp.Navigate(url))
	return b
}

// Do takes steps.
func (b *Browser) Do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b, steps...); err != nil {
		b.t.Fatalf("%v\n%s", err, b.output.String())
	}
}

// Run runs a script.
func (b *Browser) Run(script string) {
	b.t.Helper()
	if _, err := chromedp.Run(b, chromedp.Evaluate[any](script)); err != nil {
		b.t.Fatalf("%s: %v", script, err)
	}
}

// Until waits until the script is true, and returns how long that took.
func (b *Browser) Until(script string) time.Duration {
	b.t.Helper()
	began := time.Now()
	if _, err := chromedp.Run(b, chromedp.Poll[bool](script, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(30*time.Second))); err != nil {
		text, _ := chromedp.Run(b, chromedp.Evaluate[string]("document.body.innerText"))
		b.t.Fatalf("%s: %v\n%s", script, err, text)
	}
	return time.Since(began)
}

// Complaints returns what the page has written to its console so far.
func (b *Browser) Complaints() (lines []string) {
	for line := range strings.Lines(b.output.String()) {
		if strings.Contains(line, "CONSOLE") {
			lines = append(lines, line)
		}
	}
	return lines
}
