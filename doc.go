// Package foretier is the map of a library from which a team assembles the
// front tier of its web shop.
//
// It holds no code of its own. A request meets these packages, from the outside in:
//
//   - [github.com/foretier/foretier/router/edge]: the listening end: limits,
//     TLS, forwarded headers, drain. [github.com/foretier/foretier/router/edge/h3]
//     adds HTTP/3, and [github.com/foretier/foretier/router/edge/acme]
//     certificates that issue themselves, for several gateways by
//     [github.com/foretier/foretier/router/edge/acme/redisstorage]
//   - [github.com/foretier/foretier/router]: which rule takes a request,
//     explained and provable. [github.com/foretier/foretier/router/redislimit]
//     has several gateways count together what a rule allows
//   - [github.com/foretier/foretier/router/compress]: compresses what no cache
//     holds
//   - [github.com/foretier/foretier/cache/esi]: pages composed of fragments, each
//     cached on its own
//   - [github.com/foretier/foretier/cache]: a shared HTTP cache, with
//     [github.com/foretier/foretier/cache/codings] for br, zstd and gzip,
//     [github.com/foretier/foretier/cache/redistier] for several gateways that
//     purge together, and [github.com/foretier/foretier/cache/shop] for what
//     Magento, Shopware and WordPress want
//   - [github.com/foretier/foretier/session]: cookie affinity, and sessions that
//     never lose an update, on
//     [github.com/foretier/foretier/session/redisstore],
//     [github.com/foretier/foretier/session/memcachestore] or
//     [github.com/foretier/foretier/session/sqlstore].
//     [github.com/foretier/foretier/session/php] looks into PHP's own
//   - [github.com/foretier/foretier/balancer]: a pool of backends: who gets the
//     request, what happens when it fails.
//     [github.com/foretier/foretier/balancer/fcgi] is its way to php-fpm
//   - [github.com/foretier/foretier/balancer/tcp]: the same for connections:
//     databases, their roles, tunnels. [github.com/foretier/foretier/balancer/sqlprobe]
//     asks databases for their role
//
// On which all stand, and by which a person sees them:
//
//   - [github.com/foretier/foretier/health]: states and probes; how every
//     part reports, explains itself and stays visible
//   - [github.com/foretier/foretier/health/status]: the page and the JSON that
//     say how the tier is
//   - [github.com/foretier/foretier/health/metrics]: the same for Prometheus
//
// And those that only tests import:
//
//   - [github.com/foretier/foretier/router/routertest]: which rule and pool a
//     request comes to, how it is answered, and the known ways around an admin
//     rule
//   - [github.com/foretier/foretier/router/edge/edgetest]: a whole front without
//     a port, in virtual time
//   - [github.com/foretier/foretier/cache/cachetest]: what is served half an
//     hour after the backend died, and why, at once
//   - [github.com/foretier/foretier/session/storetest],
//     [github.com/foretier/foretier/cache/storetest] and
//     [github.com/foretier/foretier/cache/feedtest]: the contracts that stores
//     and a feed must keep
package foretier
