package redistier

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/cache"
)

// A position is an epoch and a number in it, 32 bits each, and so is the id of an
// entry in the stream. An epoch is one history of which nothing can be missing: within
// one the numbers of entries follow one another, and it begins with an entry of number
// 0, which is none of the cache's. Another one begins where the log is not there, or
// where Redis has another replication id than when the epoch began: it was promoted,
// or started anew, and what its predecessor acknowledged last may be lost. Epochs are
// seconds since 1970, so that they grow although all is lost, or one more than the
// last one that anybody knows of.
//
// All that writes looks into that first, in the same script, so that nothing is ever
// appended to an epoch whose end may have been lost.
const preamble = `
local run = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
	or string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
if not run then return redis.error_reply('ERR INFO has neither master_replid nor run_id') end
local now = tonumber(redis.call('TIME')[1])
local last, epoch, number = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1), 0, 0
if last[1] then
	local a, b = string.match(last[1][1], '(%d+)-(%d+)')
	epoch, number = tonumber(a), tonumber(b)
end
if not last[1] or redis.call('GET', KEYS[2]) ~= run then
	epoch, number = math.max(now, epoch + 1, tonumber(ARGV[1]) + 1), 0
	redis.call('SET', KEYS[2], run)
	if last[1] or tonumber(ARGV[1]) > 0 then redis.call('SET', KEYS[4], '', 'EX', ` + gone + `) end
	redis.call('XADD', KEYS[1], string.format('%.0f-0', epoch), '', '')
end
`

// result returns where the log ends.
const result = `
return {string.format('%.0f', epoch), string.format('%.0f', number)}`

// gone is for how many seconds a gateway that announces nothing is there, and for how
// many it is not known who is, after that has been lost.
const gone = "15"

var (
	// of an epoch that is known, how many entries to keep, and entries
	appendTo = redis.NewScript(preamble + `
for i = 3, #ARGV do
	number = number + 1
	redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], string.format('%.0f-%.0f', epoch, number), 'd', ARGV[i])
end` + result)
	// of an epoch that is known, the gateway, and what it has applied
	announce = redis.NewScript(preamble + `
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3] .. ' ' .. now)
local all = redis.call('HGETALL', KEYS[3])
for i = 1, #all, 2 do
	local at = tonumber(string.match(all[i + 1], ' (%d+)$'))
	if not at or now - at > ` + gone + ` then redis.call('HDEL', KEYS[3], all[i]) end
end` + result)
	gateways = redis.NewScript(`
if redis.call('EXISTS', KEYS[4]) == 1 then return {'unsure'} end
local now, all, there = tonumber(redis.call('TIME')[1]), redis.call('HGETALL', KEYS[3]), {}
for i = 1, #all, 2 do
	local applied, at = string.match(all[i + 1], '^(%d+) (%d+)$')
	if applied and now - tonumber(at) <= ` + gone + ` then
		there[#there + 1] = all[i]
		there[#there + 1] = applied
	end
end
return there`)
)

func position(epoch, number uint64) cache.Position { return cache.Position(epoch<<32 | number) }

func parts(p cache.Position) (epoch, number uint64) { return uint64(p) >> 32, uint64(p) & (1<<32 - 1) }

// parsePosition reads what result returns, or an entry's id is cut into.
func parsePosition(epoch, number string) (cache.Position, error) {
	e, err := strconv.ParseUint(epoch, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("redistier: an entry that no gateway wrote: %w", err)
	}
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("redistier: an entry that no gateway wrote: %w", err)
	}
	return position(e, n), nil
}

// run runs a script that returns where the log ends.
func (t *Tier) run(ctx context.Context, script *redis.Script, args ...any) (cache.Position, error) {
	end, err := call(ctx, t, func(ctx context.Context) ([]string, error) {
		return script.Run(ctx, t.client, t.keys, args...).StringSlice()
	})
	if err != nil {
		return 0, err
	}
	if len(end) != 2 {
		return 0, fmt.Errorf("redistier: a script returned %q", end)
	}
	return parsePosition(end[0], end[1])
}

// Append implements [cache.Feed].
func (t *Tier) Append(ctx context.Context, entries ...[]byte) (cache.Position, error) {
	args := []any{t.seen.Load(), t.opts.Entries}
	for _, data := range entries {
		args = append(args, data)
	}
	return t.saw(t.run(ctx, appendTo, args...))
}

// Announce implements [cache.Feed].
func (t *Tier) Announce(ctx context.Context, applied cache.Position) (last cache.Position, err error) {
	return t.saw(t.run(ctx, announce, t.seen.Load(), t.opts.Gateway, uint64(applied)))
}

// saw remembers the epoch of a position, so that none comes back.
func (t *Tier) saw(p cache.Position, err error) (cache.Position, error) {
	epoch, _ := parts(p)
	for known := t.seen.Load(); epoch > known && !t.seen.CompareAndSwap(known, epoch); known = t.seen.Load() {
	}
	return p, err
}

// Gateways implements [cache.Feed].
func (t *Tier) Gateways(ctx context.Context) (map[string]cache.Position, error) {
	list, err := call(ctx, t, func(ctx context.Context) ([]string, error) {
		return gateways.Run(ctx, t.client, t.keys).StringSlice()
	})
	if err != nil {
		return nil, err
	}
	if len(list) == 1 {
		return nil, errUnsure
	}
	there := make(map[string]cache.Position, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		applied, err := strconv.ParseUint(list[i+1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("redistier: of gateway %q: %w", list[i], err)
		}
		there[list[i]] = cache.Position(applied)
	}
	return there, nil
}

var errUnsure = errors.New("redistier: the log was lost, and who is there is not known yet")

// Leave implements [cache.Feed].
func (t *Tier) Leave(ctx context.Context) error {
	_, err := call(ctx, t, func(ctx context.Context) (int64, error) {
		return t.client.HDel(ctx, t.keys[2], t.opts.Gateway).Result()
	})
	return err
}

const (
	block = time.Second // for which Redis is to wait for something new
	batch = 256         // entries that are read at once
)

// Follow implements [cache.Feed].
func (t *Tier) Follow(ctx context.Context, after cache.Position) iter.Seq2[cache.FeedEntry, error] {
	return func(yield func(cache.FeedEntry, error) bool) {
		last, err := t.Append(ctx) // nothing
		if err == nil && (after != 0 && after>>32 != last>>32 || after > last) {
			err = fmt.Errorf("redistier: after %d of %d: %w", after, last, cache.ErrGap)
		}
		begins := after == 0
		if begins { // what is of the epochs before cannot be followed
			epoch, _ := parts(last)
			after = position(epoch, 0)
		}
		for err == nil {
			var read []redis.XMessage
			read, err = t.read(ctx, after)
			for _, m := range read {
				var e cache.FeedEntry
				if e, err = next(after, m, begins); err != nil {
					break
				}
				after, begins = e.Position, false
				if e.Data != nil && !yield(e, nil) {
					return
				}
			}
		}
		yield(cache.FeedEntry{}, err)
	}
}

// read returns what comes after a position, or nothing if that takes long.
func (t *Tier) read(ctx context.Context, after cache.Position) ([]redis.XMessage, error) {
	bound, cancel := context.WithTimeout(ctx, block+max(t.opts.Budget, time.Second)) // it looks at its clocks ten times a second
	defer cancel()
	epoch, number := parts(after)
	streams, err := bounded(bound, t, func(ctx context.Context) ([]redis.XStream, error) {
		return t.client.XRead(ctx, &redis.XReadArgs{
			Streams: []string{t.keys[0], fmt.Sprintf("%d-%d", epoch, number)}, Count: batch, Block: block,
		}).Result()
	})
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("redistier: %w", ctx.Err())
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("redistier: %w", err)
	case len(streams) != 1:
		return nil, fmt.Errorf("redistier: of one log, %d were read", len(streams))
	}
	return streams[0].Messages, nil
}

// next returns the entry that m is, without data where an epoch begins, or a gap if it
// is not the one after a position, or, if one begins there, of its epoch.
func next(after cache.Position, m redis.XMessage, begins bool) (cache.FeedEntry, error) {
	epoch, number, _ := strings.Cut(m.ID, "-")
	p, err := parsePosition(epoch, number)
	if err != nil {
		return cache.FeedEntry{}, err
	}
	if p != after+1 && (!begins || p>>32 != after>>32) {
		return cache.FeedEntry{}, fmt.Errorf("redistier: %d comes after %d: %w", p, after, cache.ErrGap)
	}
	if _, n := parts(p); n == 0 {
		return cache.FeedEntry{Position: p}, nil
	}
	data, ok := m.Values["d"].(string)
	if !ok {
		return cache.FeedEntry{}, fmt.Errorf("redistier: entry %s is none that a gateway wrote", m.ID)
	}
	return cache.FeedEntry{Position: p, Data: append([]byte{}, data...)}, nil
}
