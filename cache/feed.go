package cache

import (
	"context"
	"errors"
	"iter"
)

// A Feed is a log of invalidations that the caches of several gateways share: what
// one of them invalidates, all of them do. Package cache/redistier has one on Redis;
// cachetest.Log is one in memory; cache/feedtest holds what every one must do. Its
// methods are safe for concurrent use. Each call ends soon after its context does,
// and within a bound of the feed's own; only the steps of Follow wait for as long as
// nothing comes.
//
// Positions begin at 1 and never go back. A feed that has, or may have, lost entries
// that it had acknowledged goes on at greater positions than those, and tells whoever
// follows it by [ErrGap].
type Feed interface {
	// Append adds entries, in order and whole, and returns the position of the last.
	// Of an error the caller cannot tell whether they have been added.
	Append(ctx context.Context, entries ...[]byte) (Position, error)
	// Announce tells the other gateways that this one has applied everything up to a
	// position, and returns that of the last entry there is, or of where the log
	// begins if there is none. Zero says that nothing has been applied yet. Who has
	// announced nothing for a while, of more than 11 seconds, counts as gone: it is cut
	// off by then, and serves nothing as fresh.
	Announce(ctx context.Context, applied Position) (last Position, err error)
	// Gateways returns what each gateway that is there has applied, by name. It fails
	// for as long after a loss as those may have announced themselves to what was lost
	// who do not count as gone.
	Gateways(ctx context.Context) (map[string]Position, error)
	// Leave tells the others not to count on this gateway any more.
	Leave(ctx context.Context) error
	// Follow returns the entries after a position, in order, as they come. After zero
	// they are those that are still there and that nothing may have been lost of since:
	// they are all that there are behind the position before the first. It ends with
	// ctx, or with an error: an [ErrGap] if an entry in between may be missing, and
	// another one if asking failed, whereupon the caller asks anew.
	Follow(ctx context.Context, after Position) iter.Seq2[FeedEntry, error]
}

// A FeedEntry is an invalidation as a [Feed] carries it.
type FeedEntry struct {
	Position Position
	Data     []byte // the cache's own; the feed does not look into it
}

var (
	// ErrGap is what [Feed.Follow] ends with if entries may be missing.
	ErrGap = errors.New("cache: entries of the feed may be missing")
	// ErrNotShared is wrapped by the error of an invalidation that has been applied
	// here, and that the feed has not taken yet. It is sent again until it has.
	ErrNotShared = errors.New("cache: invalidated here, but the other gateways have not been told yet")
)
