package acme

import (
	"context"
	"log/slog"

	"go.uber.org/zap/zapcore"
)

// A core is what certmagic logs to. What it does in detail is for who debugs it: what an
// operator must know the Manager says itself, once.
type core struct{ logger *slog.Logger }

// Enabled implements [zapcore.LevelEnabler].
func (c core) Enabled(level zapcore.Level) bool {
	return level >= zapcore.InfoLevel && c.logger.Enabled(context.Background(), slog.LevelDebug)
}

// With implements [zapcore.Core].
func (c core) With(fields []zapcore.Field) zapcore.Core { return core{c.logger.With(attrs(fields)...)} }

// Check implements [zapcore.Core].
func (c core) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

// Write implements [zapcore.Core].
func (c core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	c.logger.Debug("acme: "+e.Message, attrs(fields)...)
	return nil
}

// Sync implements [zapcore.Core].
func (c core) Sync() error { return nil }

func attrs(fields []zapcore.Field) []any {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	out := make([]any, 0, len(enc.Fields))
	for key, v := range enc.Fields {
		if key == "error" {
			key = "cause"
		}
		out = append(out, slog.Any(key, v))
	}
	return out
}
