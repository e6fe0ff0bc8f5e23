package router

import (
	"hash/maphash"
	"time"
)

// crowds is how many accounts there are for those who come when there is no room
// for an account of their own, and crowdShare what each of these may send, in
// shares of one client.
const (
	crowds     = 1 << 12
	crowdShare = 8
)

// maxClients is how many accounts a limiter has of each kind, some 3 MB.
const maxClients = 1 << 16

// An account is one moment: when the requests sent so far would have been due at
// the rate (the generic cell rate algorithm). The zero account owes nothing.
type account = time.Time

// accounts remembers what those whom K names have sent lately. Who is limited is not
// forgotten, whoever else comes: as long as all that there is room for are
// limited, newcomers share the accounts of crowds. It needs a lock.
type accounts[K comparable] struct {
	every time.Duration // between two requests for long
	burst int           // at once

	own   map[K]account
	crowd []account // by hash; nil until there is one
	seed  maphash.Seed
	full  time.Time // until then nobody can be forgotten
}

func (a *accounts[K]) init(every time.Duration, burst int) {
	a.every, a.burst = every, burst
	a.own, a.seed = make(map[K]account), maphash.MakeSeed()
}

// wait returns how long one whose requests are due then must wait at now.
func wait(due account, now time.Time, every time.Duration, burst int) time.Duration {
	if due.Before(now) {
		due = now
	}
	return due.Sub(now) - time.Duration(burst-1)*every
}

// ask returns how long a client must wait, and its account if it has one.
func (a *accounts[K]) ask(client K, now time.Time) (time.Duration, account) {
	due, known := a.own[client]
	if !known && a.crowd != nil && len(a.own) >= maxClients && now.Before(a.full) {
		return wait(a.crowd[a.slot(client)], now, a.every/crowdShare, a.burst*crowdShare), due
	}
	return wait(due, now, a.every, a.burst), due
}

// add puts one request more on the account of a client, which ask has returned.
func (a *accounts[K]) add(client K, due account, now time.Time) {
	if due.IsZero() && !a.room(now) {
		slot := &a.crowd[a.slot(client)]
		*slot = later(*slot, now).Add(a.every / crowdShare)
		return
	}
	a.own[client] = later(due, now).Add(a.every)
}

// back takes one request off the account of a client that has one of its own.
func (a *accounts[K]) back(client K) {
	if due, ok := a.own[client]; ok {
		a.own[client] = due.Add(-a.every)
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func (a *accounts[K]) slot(client K) uint64 {
	return maphash.Comparable(a.seed, client) % crowds
}

// room makes room for one account more: those who owe nothing go, then those who
// may still send, those who owe least first. It reports false if all are limited,
// and looks again when some of them may send once more.
func (a *accounts[K]) room(now time.Time) bool {
	if len(a.own) < maxClients {
		return true
	}
	if now.Before(a.full) {
		return false
	}
	for client, due := range a.own {
		if !due.After(now) {
			delete(a.own, client)
		}
	}
	const enough = maxClients * 7 / 8
	// In eight steps, which is as good as in order.
	for step := 1; step <= 8 && len(a.own) > enough; step++ {
		most := time.Duration(a.burst-1) * a.every / 8 * time.Duration(step)
		for client, due := range a.own {
			if due.Sub(now) <= most {
				if delete(a.own, client); len(a.own) <= enough {
					break
				}
			}
		}
	}
	if len(a.own) > enough { // so that not each newcomer has all looked through
		a.full = now.Add(min(max(a.every/8, time.Second/10), 10*time.Second))
		if a.crowd == nil {
			a.crowd = make([]account, crowds)
		}
	}
	return len(a.own) < maxClients
}
