// Package foretier is the map of a library from which a team assembles the
// front tier of its web shop.
//
// It holds no code of its own. The packages:
//
//   - [github.com/foretier/foretier/balancer]: a pool of backends: who gets the
//     request, what happens when it fails
//   - [github.com/foretier/foretier/balancer/tcp]: the same for connections:
//     databases, their roles, tunnels
//   - [github.com/foretier/foretier/health]: states and probes; how every
//     part reports, explains itself and stays visible
//   - [github.com/foretier/foretier/session]: cookie affinity, and sessions on
//     Redis or memcached that never lose an update
//   - [github.com/foretier/foretier/cache]: a shared HTTP cache
//   - [github.com/foretier/foretier/router]: which rule takes a request,
//     explained and provable
//   - [github.com/foretier/foretier/router/edge]: the listening end: limits,
//     TLS, forwarded headers, drain
package foretier
