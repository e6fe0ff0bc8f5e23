package session

import (
	"context"
	"net/http"

	"github.com/foretier/foretier/health"
)

type Manager struct{}

func New(store Store, opts Options) (*Manager, error)               { return &Manager{}, nil }
func (m *Manager) Handler(next http.Handler) http.Handler           { return next }
func (m *Manager) Revoke(ctx context.Context, subject string) error { return nil }
func (m *Manager) Close() error                                     { return nil }
func (m *Manager) Report() health.Report                            { return health.Report{} }

type Session struct{}

func From(ctx context.Context) *Session                             { return nil }
func Value[T any](s *Session, key string) (v T, ok bool, err error) { return v, false, nil }
func Update[T any](s *Session, key string, f func(old T, ok bool) (T, error)) error {
	return nil
}
func (s *Session) Set(key string, v any) error  { return nil }
func (s *Session) Delete(key string) error      { return nil }
func (s *Session) Renew() error                 { return nil }
func (s *Session) Destroy() error               { return nil }
func (s *Session) Save() error                  { return nil }
func (s *Session) Subject(subject string) error { return nil }
func Memory() Store                             { return nil }

type Sticky struct{}
type StickyOptions struct{ Name string }

func NewSticky(key []byte, opts StickyOptions) (*Sticky, error)    { return &Sticky{}, nil }
func (s *Sticky) Choose(r *http.Request) (name, key string)        { return "", "" }
func (s *Sticky) Strip(h http.Header)                              {}
func (s *Sticky) Bind(h http.Header, r *http.Request, name string) {}
func (s *Sticky) Report() health.Report                            { return health.Report{} }
