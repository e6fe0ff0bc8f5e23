// Package foretier is the map of a library from which a team assembles the
// front tier of its web shop.
//
// It holds no code of its own. The packages:
//
//   - [github.com/foretier/foretier/balancer]: a pool of backends: who gets the
//     request, what happens when it fails
//   - [github.com/foretier/foretier/balancer/tcp]: the same for connections:
//     databases, their roles, tunnels
//   - [github.com/foretier/foretier/balancer/sqlprobe]: probes that ask
//     databases for their role
//   - [github.com/foretier/foretier/health]: states and probes; how every
//     part reports, explains itself and stays visible
//   - [github.com/foretier/foretier/health/status]: the page and the JSON that
//     say how the tier is
//   - [github.com/foretier/foretier/health/metrics]: the same for Prometheus
//   - [github.com/foretier/foretier/session]: cookie affinity, and sessions on
//     Redis or memcached that never lose an update
//   - [github.com/foretier/foretier/session/redisstore] and
//     [github.com/foretier/foretier/session/memcachestore]: where those are kept
//   - [github.com/foretier/foretier/session/php]: looks into PHP's own sessions
//   - [github.com/foretier/foretier/cache]: a shared HTTP cache
//   - [github.com/foretier/foretier/cache/esi]: pages composed of fragments, each
//     cached on its own
//   - [github.com/foretier/foretier/cache/codings]: br, zstd and gzip for what it
//     stores
//   - [github.com/foretier/foretier/router]: which rule takes a request,
//     explained and provable
//   - [github.com/foretier/foretier/router/edge]: the listening end: limits,
//     TLS, forwarded headers, drain
//   - [github.com/foretier/foretier/router/compress]: compresses what no cache
//     holds
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
//   - [github.com/foretier/foretier/session/storetest]: the contract that a
//     store must keep
package foretier
