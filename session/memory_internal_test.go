package session

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestMemoryIsBounded: a full store takes nothing new, and drops nothing that
// has not expired.
func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := Memory().(*memory)
		total := 0
		for i := range m.shards {
			total += m.shards[i].limit
			m.shards[i].limit = 10 * cost("key-000", make([]byte, 100))
		}
		if total != 256<<20 {
			t.Errorf("%d bytes by default, want 256 MiB", total)
		}
		data := make([]byte, 100)
		var kept []string
		var err error
		for i := 0; err == nil; i++ {
			key := fmt.Sprintf("key-%03d", i)
			if err = m.Create(t.Context(), key, data, time.Minute); err == nil {
				kept = append(kept, key)
			}
		}
		if !errors.Is(err, ErrFull) || len(kept) > 640 {
			t.Fatalf("%d records, then %v", len(kept), err)
		}
		for _, key := range kept {
			r, err := m.Load(t.Context(), key)
			if err != nil || r[0].Version == 0 {
				t.Fatalf("%s: %+v, %v", key, r, err)
			}
			// What is there may grow: else a full store would lose updates.
			if err := m.Update(t.Context(), key, r[0], append(data, 'x'), time.Minute); err != nil {
				t.Fatalf("%s: %v", key, err)
			}
		}
		time.Sleep(time.Minute)
		for i := range 100 {
			if err := m.Create(t.Context(), fmt.Sprintf("new-%03d", i), data, time.Minute); err != nil {
				t.Fatalf("after all had expired: %v", err)
			}
		}
		bytes := 0
		for i := range m.shards {
			for key, r := range m.shards[i].records {
				bytes += cost(key, r.Data)
			}
			bytes -= m.shards[i].bytes
		}
		if bytes != 0 {
			t.Errorf("the count of bytes is off by %d", bytes)
		}
	})
}

// TestAFloodOfSessions: whoever makes sessions without end drops their own.
// Members, epochs, locks and the carts of those who come back stay, and a new
// visitor still gets one.
func TestAFloodOfSessions(t *testing.T) {
	floods := map[string]struct{ looks, grow int }{"that nobody comes back to": {0, 0}, "that are looked at": {2, 0}, "that grow": {1, 20_000}}
	for name, flood := range floods {
		t.Run(name, func(t *testing.T) {
			m := Memory().(*memory)
			const limit = 256 << 10
			for i := range m.shards {
				m.shards[i].limit = limit
			}
			now := time.Now()
			create := func(key string, p payload) {
				t.Helper()
				data := []byte(key) // not a session's
				if p.Created != 0 {
					var err error
					if data, err = p.encode(); err != nil {
						t.Fatal(err)
					}
				}
				if err := m.Create(t.Context(), key, data, time.Hour); err != nil {
					t.Fatalf("%s: %v", key, err)
				}
			}
			load := func(key string) Record {
				t.Helper()
				r, err := m.Load(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				return r[0]
			}
			ticketKey := func() string { return newTicket(now, "").key("sid") }
			var stay []string
			for i := range 100 {
				for _, p := range []payload{
					{Created: now.Unix(), Subject: "ann", Values: values{"user": []byte(`"ann"`)}},
					{Created: now.Unix(), Values: values{"cart": []byte(`{"tea":1,"pot":2}`)}},
				} {
					key := ticketKey()
					create(key, p)
					for range 4 {
						load(key)
					}
					stay = append(stay, key)
				}
				epoch, lock := epochKey(subjectTag("sid", string(rune('a'+i)))), "l-"+digest("sid", string(rune('a'+i)), 32)
				create(epoch, payload{})
				create(lock, payload{})
				stay = append(stay, epoch, lock)
			}
			last := ""
			for range 60_000 {
				last = ticketKey()
				create(last, payload{Created: now.Unix(), Values: values{"a": []byte("1")}})
				for range flood.looks {
					load(last)
				}
				if flood.grow > 0 {
					if err := m.Update(t.Context(), last, load(last), make([]byte, flood.grow), time.Hour); err != nil {
						t.Fatal(err)
					}
				}
			}
			lost := 0
			for _, key := range stay {
				if load(key).Version == 0 {
					lost++
				}
			}
			if lost > 0 {
				t.Errorf("%d of %d were dropped", lost, len(stay))
			}
			if load(last).Version == 0 {
				t.Error("the last one is gone")
			}
			for i := range m.shards {
				if n := m.shards[i].bytes; n > limit {
					t.Fatalf("shard %d holds %d bytes, of %d", i, n, limit)
				}
			}
		})
	}
}

// TestMembersFillTheStore: no member is dropped who has come back; those who
// never did go before nobody gets a session.
func TestMembersFillTheStore(t *testing.T) {
	m := Memory().(*memory)
	for i := range m.shards {
		m.shards[i].limit = 16 << 10
	}
	now := time.Now()
	data, err := payload{Created: now.Unix(), Subject: "ann"}.encode()
	if err != nil {
		t.Fatal(err)
	}
	var back []string
	full := 0
	for i := range 10_000 {
		key := newTicket(now, "").key("sid")
		if err := m.Create(t.Context(), key, data, time.Hour); errors.Is(err, ErrFull) {
			full++
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			back = append(back, key)
			if _, err := m.Load(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, key := range back {
		if r, err := m.Load(t.Context(), key); err != nil || r[0].Version == 0 {
			t.Fatalf("a member who came back was dropped: %v", err)
		}
	}
	if full == 0 {
		t.Error("never full")
	}
}
