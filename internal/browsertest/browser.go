// Package browsertest shows pages in Chromium, for tests.
package browsertest

import (
	"context"
	"slices"
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

// Open opens url in Chromium, started with these options too, until the test ends.
func Open(t testing.TB, url string, options ...chromedp.ExecAllocatorOption) *Browser {
	t.Helper()
	b := &Browser{t: t}
	options = append([]chromedp.ExecAllocatorOption{
		chromedp.ExecPath(servertest.Require(t, "chromium")), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("enable-logging", "stderr"), chromedp.CombinedOutput(&b.output),
	}, options...)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), slices.Concat(chromedp.DefaultExecAllocatorOptions[:], options)...)
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

// Until waits until the script is true, of the next page too if the browser goes there
// meanwhile, and returns how long that took.
func (b *Browser) Until(script string) time.Duration {
	b.t.Helper()
	const patience = time.Minute
	began := time.Now()
	for {
		_, err := chromedp.Run(b, chromedp.Poll[bool](script, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(patience)))
		if err == nil {
			return time.Since(began)
		}
		left := strings.Contains(err.Error(), "navigated or closed") || strings.Contains(err.Error(), "Cannot find context")
		if left && time.Since(began) < patience {
			continue
		}
		text, _ := chromedp.Run(b, chromedp.Evaluate[string]("document.body.innerText"))
		b.t.Fatalf("%s: %v\n%s", script, err, text)
	}
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
