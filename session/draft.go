package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// A draft is what a request has made of its session, against what the store
// had when it was loaded.
type draft struct {
	ticket  ticket   // empty: there is no session yet
	record  Record   // what the store had; Version 0: nothing
	base    payload  // what record says
	changes []change // in order
	renew   bool
	destroy bool
	long    length // whether it shall be remembered
	subject *login // whose the session shall be; nil: as it was
	from    grave  // of the session whose tombstone the draft rests on; no key: none
}

// length is for how long a session shall live.
type length uint8

const (
	asItWas    length = iota // and after a login as any
	asAny                    // for Lifetime, and Idle
	remembered               // for Remember
)

// login is whose a session shall be.
type login struct{ name, epoch string }

// unknown is the version of a record that was written here and not loaded
// since: stores do not say what they made of it.
const unknown = ^uint64(0)

// store brings the store up to the draft, and returns the draft as it then
// stands, without changes. An [errEnded] means that there is no session left
// to change.
func (d draft) store(ctx context.Context, m *Manager) (draft, error) {
	if d.destroy {
		if err := d.retire(ctx, m); err != nil {
			return d, err
		}
		d = draft{changes: d.changes, subject: d.subject, long: d.long}
	}
	if d.from.key != "" {
		return d.beside(ctx, m, d.base.Values)
	}
	changed := len(d.changes) > 0 || d.renew
	switch {
	case d.record.Version == unknown && !changed:
		return d, nil // just written
	case d.record.Version != 0:
		return d.replace(ctx, m)
	}
	merged, err := apply(d.base.Values, d.base.Values, d.changes)
	if err != nil {
		return d, err
	}
	if len(merged) == 0 && d.subject == nil {
		return draft{}, nil
	}
	return d.create(ctx, m, merged)
}

// create stores values under a new ticket.
func (d draft) create(ctx context.Context, m *Manager, v values) (draft, error) {
	now := time.Now()
	p := d.payload(now, v)
	data, err := p.encode()
	if err != nil {
		return d, err
	}
	t := newTicket(now, p.tag(m.name))
	if m.opts.Listed && p.Subject != "" {
		if err := m.enlist(ctx, p, t.key(m.name)); err != nil {
			return d, fmt.Errorf("session: listing: %w", err)
		}
	}
	err = m.call(ctx, func(ctx context.Context) error {
		return m.store.Create(ctx, t.key(m.name), data, p.remaining(now, m.opts))
	})
	if err != nil {
		return d, fmt.Errorf("session: creating: %w", err)
	}
	m.stats.created.Add(1)
	return draft{ticket: t, record: Record{Version: unknown}, base: p}, nil
}

// replace writes the changes over what the store has, and makes them again
// for as long as others come first.
func (d draft) replace(ctx context.Context, m *Manager) (draft, error) {
	key := d.ticket.key(m.name)
	loaded := d.base.Values
	leave := func() {}
	defer func() { leave() }()
	for try := 0; ; try++ {
		if try == 1 {
			var err error
			if leave, err = m.gates.enter(ctx, key); err != nil {
				leave = func() {}
				return d, fmt.Errorf("%w: too many changes at once", ErrConflict)
			}
		}
		if try > 1 && !pause(ctx, try) {
			return d, fmt.Errorf("%w: too many changes at once", ErrConflict)
		}
		if try > 0 || d.record.Version == unknown {
			record, base, err := m.reload(ctx, key)
			if end := (errEnded{}); errors.As(err, &end) && end.grave.says.shows() && d.renew {
				d = draft{changes: d.changes, renew: true, subject: d.subject, long: d.long, base: end.grave.says.before(), from: end.grave}
				return d.beside(ctx, m, loaded)
			}
			if err != nil {
				return d, err
			}
			d.record, d.base = record, base
		}
		merged, err := apply(loaded, d.base.Values, d.changes)
		if err != nil {
			return d, err
		}
		next, err := d.attempt(ctx, m, key, merged)
		switch {
		case errors.Is(err, ErrConflict):
			m.stats.conflicts.Add(1)
		case errors.Is(err, ErrNotFound):
			return d, errEnded{how: destroyed}
		default:
			return next, err
		}
	}
}

// beside makes a session of its own for a request that came second in renewing
// one, such as the second click on a button, or the first one again since its
// answer got lost: from what stood there before. loaded is what the request
// knew of it.
func (d draft) beside(ctx context.Context, m *Manager, loaded values) (draft, error) {
	key := d.from.key
	if d.from.record.Version == unknown {
		_, _, err := m.reload(ctx, key)
		end := errEnded{}
		if !errors.As(err, &end) || !end.grave.says.shows() {
			return d, err
		}
		d.base, d.from = end.grave.says.before(), end.grave
	}
	merged, err := apply(loaded, d.base.Values, d.changes)
	if err != nil {
		return d, err
	}
	d.base.From = key
	next, err := d.create(ctx, m, merged)
	if err != nil {
		return d, err
	}
	// Not before: a logout from now on ends what can be seen with the old id,
	// whichever of the new ones it comes with; one that came first counts.
	_, _, err = m.reload(ctx, key)
	if end := (errEnded{}); errors.As(err, &end) {
		dead := !end.grave.says.shows()
		if err = nil; !dead {
			dead, err = m.outlived(ctx, end.grave.says)
		}
		if dead {
			err = errEnded{how: destroyed}
		}
	}
	if err != nil {
		m.discard(ctx, next.ticket.key(m.name))
		return d, err
	}
	return next, nil
}

// retire destroys the session that the draft is of, and what is still to be
// seen under an id that it had before.
func (d draft) retire(ctx context.Context, m *Manager) error {
	key, record := d.ticket.key(m.name), d.record
	if d.from.key != "" {
		key, record = d.from.key, d.from.record
	}
	if d.base.From != "" && d.isYoung(time.Now()) {
		if _, err := m.retire(ctx, d.base.From, Record{Version: unknown}); err != nil {
			return err
		}
	}
	ended, err := m.retire(ctx, key, record)
	if ended {
		m.stats.ended.Add(1)
	}
	return err
}

// isYoung reports whether the tombstone that the session came from may still
// stand. Two machines' clocks may differ by a minute.
func (d draft) isYoung(now time.Time) bool { return now.Sub(d.ticket.issued()) < 2*retired }

// attempt writes once what the session shall be.
func (d draft) attempt(ctx context.Context, m *Manager, key string, merged values) (draft, error) {
	now := time.Now()
	p := d.payload(now, merged)
	ttl := p.remaining(now, m.opts)
	if ttl <= time.Second {
		return d, errEnded{how: destroyed} // of old age, under our hands; a store may take 0 for ever
	}
	if d.renew {
		// The new one first: whatever fails in between, the visitor keeps the
		// one that their cookie names.
		next, err := d.create(ctx, m, merged)
		if err != nil {
			return d, err
		}
		heir := next.ticket.key(m.name)
		if err = m.entomb(ctx, key, d.record, d.base.renewal(m.name, next.base, heir)); err != nil {
			m.discard(ctx, heir)
		}
		return next, err
	}
	next := draft{ticket: d.ticket, record: d.record, base: p}
	if same(merged, d.base.Values) {
		if now.Add(ttl).Sub(d.record.Expires) < m.opts.Idle/10 {
			return next, nil
		}
		err := m.call(ctx, func(ctx context.Context) error { return m.store.Touch(ctx, key, d.record, ttl) })
		m.stats.touched.Add(1)
		if !errors.Is(err, ErrNotFound) {
			// Whoever changed it first has kept it alive; and if the store is
			// out, the session ends a little earlier, which harms nobody.
			err = nil
		}
		next.record.Version = unknown
		return next, err
	}
	data, err := p.encode()
	if err != nil {
		return d, err
	}
	err = m.call(ctx, func(ctx context.Context) error { return m.store.Update(ctx, key, d.record, data, ttl) })
	if err == nil {
		m.stats.updated.Add(1)
	}
	next.record.Version = unknown
	return next, err
}

// payload returns the session with other values and its new subject, if any. A
// login begins a new lifetime.
func (d draft) payload(now time.Time, v values) payload {
	p := d.base
	if p.Created == 0 || d.subject != nil {
		p.Created = now.Unix()
	}
	if d.subject != nil {
		p.Subject, p.Epoch, p.Long = d.subject.name, d.subject.epoch, false
	}
	if d.long != asItWas {
		p.Long = d.long == remembered
	}
	if d.ticket.id != "" && !d.isYoung(now) {
		p.From = ""
	}
	p.Values = v
	return p
}

// reload returns what the store has under key now, or an [errEnded].
func (m *Manager) reload(ctx context.Context, key string) (Record, payload, error) {
	records, err := m.load(ctx, key)
	switch {
	case errors.Is(err, ErrUnreadable):
		return Record{}, payload{}, errEnded{how: unreadable}
	case err != nil:
		return Record{}, payload{}, err
	case records[0].Version == 0:
		return Record{}, payload{}, errEnded{how: destroyed}
	}
	p, err := decodePayload(records[0].Data)
	switch {
	case err != nil:
		err = errEnded{how: unreadable}
	case p.Ended != "":
		err = errEnded{p.Ended, grave{key, records[0], p}}
	}
	return records[0], p, err
}

// discard removes a session that no browser knows of. If that fails it expires
// unused.
func (m *Manager) discard(ctx context.Context, key string) {
	record, _, err := m.reload(ctx, key)
	if err == nil {
		_ = m.call(ctx, func(ctx context.Context) error { return m.store.Delete(ctx, key, record) })
	}
}

// pause waits a moment, longer with each try, and reports whether to go on.
// Two machines that change one session are so kept from doing it in step.
func pause(ctx context.Context, try int) bool {
	t := time.NewTimer(rand.N(time.Millisecond << min(try, 6)))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
