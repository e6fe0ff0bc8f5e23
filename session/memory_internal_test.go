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
