package cachetest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/trial"
)

// A Row is a request, what happens before it, and the answer that must come. What is
// empty of the answer is not looked at.
type Row struct {
	Do    func()        // what happens before, such as an origin's Die; nil: nothing
	After time.Duration // how long after that it is asked, by the bubble's clock

	Method string // empty means GET
	Target string // path and query, of http://shop.example, or a URL
	// Client is who asks, ip or ip:port; empty means 192.0.2.1. Peer is a proxy through
	// which it comes, which says so in X-Forwarded-For, for an edge that trusts it; empty:
	// the client is connected itself.
	Client, Peer string
	Fields       []string // of the request, "Name: value" each
	Send         string   // the request's body

	From        string   // as [Answer.From] says
	Status      int      // 0: not looked at
	Body        string   // a part of the answer's body
	Has         []string // fields of the answer: "Name: part of the value", or "!Name" for one that must not be there
	CacheStatus string   // a part of Cache-Status, such as "fwd=stale" or "detail="
	Broken      bool     // the connection must break off
}

// Table asks the rows of front, one after the other, and checks each answer. It is called
// in a bubble of testing/synctest, where it takes no time, whatever After says: before each
// row what the last one began behind the client's back, a refresh as a rule, has ended or
// waits for time to pass.
func Table(tb testing.TB, front http.Handler, rows ...Row) {
	tb.Helper()
	for i, row := range rows {
		synctest.Wait()
		if row.Do != nil {
			row.Do()
		}
		if row.After > 0 {
			time.Sleep(row.After) // of a bubble's, in which Table runs
		}
		a, err := ask(tb, front, &trial.Request{
			Method: row.Method, Target: row.Target, Client: row.Client, Peer: row.Peer, Fields: row.Fields, Body: row.Send,
		})
		if err != nil {
			tb.Errorf("row %d: %s %s: %v", i+1, row.Method, row.Target, err)
			continue
		}
		if lines := row.differs(a); len(lines) > 0 {
			if row.CacheStatus == "" {
				lines = append(lines, a.said())
			}
			tb.Error(trial.Failure(fmt.Sprintf("row %d: %s", i+1, row.words(a.URL)), lines, a.why))
		}
	}
}

// differs says what is another than the row wants, a line each.
func (row *Row) differs(a Answer) (lines []string) {
	switch broken := a.Status == 0; {
	case broken && !row.Broken:
		return []string{"the connection broke off"}
	case row.Broken && !broken:
		return []string{fmt.Sprintf("got %d %s, want a connection that breaks off", a.Status, trial.Shown(a.Body))}
	}
	if row.From != "" && a.From() != row.From {
		line := fmt.Sprintf("from: got %s, want %s", a.From(), row.From)
		if !slices.Contains(sources[:], row.From) {
			line += ", which never comes: want one of " + strings.Join(sources[:], ", ")
		}
		lines = append(lines, line)
	}
	want := trial.Want{Status: row.Status, Body: row.Body, Has: row.Has}
	if row.CacheStatus != "" {
		want.Has = append(slices.Clip(want.Has), "Cache-Status: "+row.CacheStatus)
	}
	return append(lines, want.Differs(trial.Answer{Status: a.Status, Header: a.Header, Body: a.Body})...)
}

// sources are what [Answer.From] says.
var sources = [...]string{"hit", "stale", "miss", "pass", "nowhere"}

// words names the request.
func (row *Row) words(url string) string {
	method := row.Method
	if method == "" {
		method = http.MethodGet
	}
	words := method + " " + url
	if row.Client != "" {
		words += " from " + row.Client
	}
	if row.Peer != "" {
		words += " by way of " + row.Peer
	}
	return words
}
