// Package edgetest serves a whole front in a test: edge, rules, cache, pools and sessions,
// with no port and no socket, in the virtual time of testing/synctest. Requests go over
// HTTP/1.1, from whatever address a test chooses; servers are handlers in this process
// (balancer.Backend's Handler), and what gateways share is in memory (session.Memory,
// cachetest.Log, cachetest.Store).
//
//	func TestFront(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			front, parts := newFront(t) // as main makes it
//			tier := edgetest.Serve(t, front, edge.Options{Trusted: trusted}, parts...)
//			visitor := tier.Client("203.0.113.9")
//			res, err := visitor.Get("http://shop.example/product/42")
//			...
//			time.Sleep(2 * time.Hour) // takes no time
//			routertest.Table(t, tier, routertest.Row{Target: "/intern", Client: "203.0.113.9", Status: 403})
//		})
//	}
//
// All of it must be made in the bubble: a clock that was made outside is another's. What
// opens a socket there, as a backend with a URL or a store on Redis does, stops the
// bubble's clock for as long as it waits: give pools a Handler, or a Transport.
//
// A Front is what clients see. Its log is a [Log], if the parts are given one; how each
// request went stands in X-Route-Trace for those in edge's Options.Observers.
package edgetest
