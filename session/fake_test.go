package session_test

import (
	"context"
	"sync"
	"time"

	"github.com/foretier/foretier/session"
)

// A fake counts the calls to the store beneath, and does before each what the
// test wants: fail, or change something meanwhile.
type fake struct {
	session.Store
	mu     sync.Mutex
	calls  []string                                          // guarded by mu
	before func(ctx context.Context, call, key string) error // set before use
}

func newFake() *fake { return &fake{Store: session.Memory()} }

func (f *fake) note(ctx context.Context, call, key string) error {
	f.mu.Lock()
	f.calls = append(f.calls, call)
	f.mu.Unlock()
	if f.before != nil {
		return f.before(ctx, call, key)
	}
	return nil
}

// taken returns the calls since the last time.
func (f *fake) taken() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

func (f *fake) Load(ctx context.Context, keys ...string) ([]session.Record, error) {
	if err := f.note(ctx, "load", keys[0]); err != nil {
		return nil, err
	}
	return f.Store.Load(ctx, keys...)
}

func (f *fake) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	if err := f.note(ctx, "create", key); err != nil {
		return err
	}
	return f.Store.Create(ctx, key, data, ttl)
}

func (f *fake) Update(ctx context.Context, key string, old session.Record, data []byte, ttl time.Duration) error {
	if err := f.note(ctx, "update", key); err != nil {
		return err
	}
	return f.Store.Update(ctx, key, old, data, ttl)
}

func (f *fake) Touch(ctx context.Context, key string, old session.Record, ttl time.Duration) error {
	if err := f.note(ctx, "touch", key); err != nil {
		return err
	}
	return f.Store.Touch(ctx, key, old, ttl)
}

func (f *fake) Delete(ctx context.Context, key string, old session.Record) error {
	if err := f.note(ctx, "delete", key); err != nil {
		return err
	}
	return f.Store.Delete(ctx, key, old)
}
