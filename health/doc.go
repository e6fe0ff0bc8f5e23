// Package health is the ground floor of Foretier: what every part of a tier
// speaks, a user's own parts too. [Report] is how a part is, [Decision] what it would
// do with a request and why. Beside them stand the kinds of [Probe], and the options by which
// a pool judges its backends, [Schedule] and [Outlier].
//
// It judges nobody and acts on nothing: the balancer runs the probes and takes
// backends out, the status page shows what is reported.
//
// # How to write middleware that stays visible
//
// The parts of a tier are handlers around handlers, and they ask along that chain,
// beside the requests that they send:
//
//   - [Explainer]: what would you do with this request? Rules, the cache and pools
//     answer in turn. Ask by [Explain].
//   - [Checker]: could you serve it now? The cache asks, and serves stale responses
//     within their grace if not. Ask by [Healthy].
//   - [Wrapper]: whom do you call? Proofs ask (router.Router.Prove), constructors that
//     look for mistakes, and whoever asks the two that follow. Ask by [Chain].
//   - [CookieOwner]: is this cookie yours? The cache asks, since a visitor's pin must
//     not make all pages private.
//   - [LoopDetector]: has this request been here before? The cache asks, so that none
//     waits for itself.
//   - [BasePather]: what do you put in front of the path? Proofs ask.
//   - [Reporter] and [Actor]: how are you, and do this. The status page asks the parts
//     that it is given, and no chain.
//
// Plain middleware answers none of that. Between a cache and its pool it hides the
// pool: explanations end with its type, claims fail with router.ErrOpaque, nothing is
// served stale because the pool is down, and each visitor with a pin misses. Three
// ways lead out, the first that fits being the best:
//
//   - Put it into router.Rule.Use. What stands there is around the rule's handler
//     and hides nothing: whoever asks, asks the handler.
//   - Where it must stand further down, give its place to [Wrap]:
//     health.Wrap(trace(apps), apps).
//   - Give a type of your own the methods. Wraps shows the way down, and is all that
//     cookies, loops and proofs need; Explain and Healthy say what becomes of a
//     request, mostly by asking [Explain] and [Healthy] of the next handler. Who picks
//     among several handlers, or changes method, host or path, writes them itself: it
//     alone knows which handler is asked, and for what.
//
// As for serving, middleware stays out of the way if
//
//   - it passes on r, or one made from it by r.WithContext, r.Clone and the like: the
//     context carries what the stages tell one another, the client among it,
//   - it lets panics through, by which a broken response is told from a whole one: a
//     deferred Close may run, a recover must panic again,
//   - its http.ResponseWriter has a method Unwrap, lets 1xx responses through, and
//     flushes what it holds when it is flushed,
//   - it takes off what no longer holds when it changes a body (Content-Length, a
//     strong ETag, digests), and adds to Vary what it goes by,
//   - nothing of it uses the request, its body or the writer once it has returned.
package health
