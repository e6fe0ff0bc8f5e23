package wire

import (
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
)

// look has the set look at its connections, as its sweep does.
func look(s *Set, now int64) (again time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lookLocked(now)
}

func TestAnIdleReaderIsAskedToPark(t *testing.T) {
	c, client := onLoopback(t, Options{})
	if c.set.watch == nil {
		t.Skip("readers park on Linux only")
	}
	c.Idle(time.Hour)
	look(c.set, c.set.now()+int64(c.set.opts.ParkAfter)) // as the sweep does then
	if c.ShouldPark() {
		t.Error("one that does not park is asked to")
	}
	c.Parks()
	look(c.set, c.set.now()+int64(c.set.opts.ParkAfter))
	_, err := c.Read(make([]byte, 1))
	if !errors.Is(err, os.ErrDeadlineExceeded) || !c.ShouldPark() || c.Late() {
		t.Fatalf("%v, should park %t, late %t", err, c.ShouldPark(), c.Late())
	}
	woken := make(chan string)
	if !c.Park(func() {
		b := make([]byte, 9)
		n, _ := c.Read(b)
		woken <- string(b[:n])
	}) {
		t.Fatal("it could not")
	}
	client.Write([]byte("hello"))
	if got := <-woken; got != "hello" {
		t.Errorf("read %q", got)
	}
	c.Idle(time.Hour)
	look(c.set, c.set.now()+int64(c.set.opts.ParkAfter)) // and a request comes just then
	c.Busy()
	go client.Write([]byte("more"))
	if n, err := c.Read(make([]byte, 9)); n == 0 || err != nil {
		t.Errorf("a request that came as its reader was asked to park: %d bytes, %v", n, err)
	}
}

func TestReadersParkSoonIfManyWait(t *testing.T) {
	for name, crowd := range map[string]int{"few": 1, "many": -1} {
		t.Run(name, func(t *testing.T) {
			c, _ := onLoopback(t, Options{Tick: time.Hour, Crowd: crowd})
			if c.set.watch == nil {
				t.Skip("readers park on Linux only") // elsewhere there is no watch that could wake them
			}
			c.Parks()
			c.Idle(time.Hour)
			for _, d := range []time.Duration{soon / 2, soon} {
				tick := look(c.set, c.idle.Load()+int64(d))
				if want := crowd < 0 && d == soon; c.ShouldPark() != want {
					t.Errorf("after %v: asked to park %t, want %t", d, !want, want)
				}
				if crowd < 0 && tick != soon/4 || crowd == 1 && tick != time.Hour {
					t.Errorf("looks again in %v", tick)
				}
			}
		})
	}
}

// TestWhoIsAskedSeldomParksAtOnce if many wait: its read ends, unless there is something.
func TestWhoIsAskedSeldomParksAtOnce(t *testing.T) {
	for name, x := range map[string]struct {
		crowd  int
		rested time.Duration // before this rest; 0: never
		more   bool          // is there already
		stays  bool          // the reader is told to, by a drain
		parks  bool
	}{
		"for the first time": {crowd: -1, parks: true},
		"again, after long":  {crowd: -1, rested: soon, parks: true},
		"again, soon":        {crowd: -1, rested: 1},
		"few wait":           {crowd: 1},
		"more is there":      {crowd: -1, more: true},
		"told to stay":       {crowd: -1, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			c, client := onLoopback(t, Options{Tick: time.Hour, Crowd: x.crowd})
			if c.set.watch == nil {
				t.Skip("readers park on Linux only")
			}
			c.Parks()
			c.Rest(time.Hour) // as whoever has just been accepted
			if c.ShouldPark() {
				t.Error("before anything was asked")
			}
			c.Busy()
			if x.rested != 0 {
				c.park.rested = c.set.now() - int64(x.rested)
			}
			if x.more {
				client.Write([]byte("x"))
				testkit.Within(t, testkit.Patience, "it comes", c.Pending)
			}
			c.Rest(time.Hour)
			if x.stays && (!c.StayAwake() || c.StayAwake()) {
				t.Error("it was not to park, or twice")
			}
			if !x.parks && !x.more {
				c.SetReadDeadline(time.Now().Add(time.Millisecond)) // or it waits
			}
			n, err := c.Read(make([]byte, 9))
			switch {
			case x.more:
				if n != 1 || err != nil {
					t.Errorf("%d bytes, %v", n, err)
				}
			case !errors.Is(err, os.ErrDeadlineExceeded), c.ShouldPark() != x.parks, c.Late():
				t.Errorf("%v, should park %t, late %t", err, c.ShouldPark(), c.Late())
			}
			c.Busy() // a body is waited for as ever
			c.SetReadDeadline(time.Time{})
			go client.Write([]byte("body"))
			if n, err := c.Read(make([]byte, 9)); n != 4 || err != nil {
				t.Errorf("a body: %d bytes, %v", n, err)
			}
			if n, err := c.Read(nil); n != 0 || err != nil {
				t.Errorf("nothing: %d bytes, %v", n, err)
			}
		})
	}
}

// TestWhoHasADeadlineReads: nobody would wake it.
func TestWhoHasADeadlineReads(t *testing.T) {
	c, _ := onLoopback(t, Options{Tick: time.Hour})
	if c.set.watch == nil {
		t.Skip("readers park on Linux only")
	}
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	if c.Park(func() { t.Error("it was woken") }) || c.Parked() {
		t.Error("it has parked")
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// TestWhoIsBusyMakesNoCrowd, for however long: only who could park is too many.
func TestWhoIsBusyMakesNoCrowd(t *testing.T) {
	c, _ := onLoopback(t, Options{Tick: time.Hour, Crowd: -1})
	if c.set.watch == nil {
		t.Skip("readers park on Linux only")
	}
	c.set.opts.Crowd = 0 // which Options takes for its default
	crowded := func(want bool, when string) {
		t.Helper()
		if c.set.isCrowded() != want {
			t.Errorf("%s: crowded %t", when, !want)
		}
	}
	crowded(true, "one has come, of whom nothing is known")
	c.Parks()
	c.Busy()
	look(c.set, c.set.now())
	crowded(false, "it is busy")
	c.Idle(time.Hour)
	look(c.set, c.set.now())
	crowded(true, "it waits")
}

// TestWhoIsAwakeIsCounted, whatever becomes of a connection.
func TestWhoIsAwakeIsCounted(t *testing.T) {
	c, client := onLoopback(t, Options{Tick: time.Hour})
	set := c.set
	if set.watch == nil {
		t.Skip("readers park on Linux only")
	}
	awake := func(want int32) {
		t.Helper()
		if got := set.awake.Load(); got != want {
			t.Errorf("%d are awake, want %d", got, want)
		}
	}
	awake(1)
	woken := make(chan bool, 1)
	wake := func() { woken <- true }
	if !c.Park(wake) {
		t.Fatal("it could not")
	}
	awake(0)
	client.Write([]byte("x"))
	<-woken
	awake(1)
	c.Read(make([]byte, 1))
	if !c.Park(wake) {
		t.Fatal("it could not")
	}
	awake(0)
	c.Close()
	<-woken
	awake(0)
	c.Close()
	awake(0)
	if c.Park(wake) {
		t.Error("a connection that is closed has parked")
	}
	awake(0)
}

// TestTwoWatchAConnectionFirst: whoever is woken as its reader parks may be there before it.
func TestTwoWatchAConnectionFirst(t *testing.T) {
	for range 50 {
		c, _ := onLoopback(t, Options{Tick: time.Hour})
		if c.set.watch == nil {
			t.Skip("connections are watched on Linux only")
		}
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				if !c.set.watch.add(c) {
					t.Error("it is not watched")
				}
			})
		}
		both.Wait()
	}
}
