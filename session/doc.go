// Package session keeps what a tier must remember of a visitor: which backend
// serves them ([Sticky]), and their data, on Redis, on memcached or in a SQL database
// ([Manager]).
//
//	sessions, err := session.New(redisstore.New(client), session.ShopOptions())
//	http.ListenAndServe(addr, sessions.Handler(mux))
//
//	// in a handler
//	s := session.From(r.Context())
//	err := session.Update(s, "cart", func(cart Cart, _ bool) (Cart, error) {
//		return cart.Add(sku), nil
//	})
//
// Requests of one session run at the same time, on any number of machines, and
// none waits for another: each loads the session when it first uses it,
// changes single keys, and writes them by compare-and-set just before the
// first byte of its response. A write that finds the session changed meanwhile
// runs its [Update] functions again on the new values. A write that finds it
// destroyed is dropped, so that a slow request cannot undo a logout.
//
// A login is [Session.Subject], and for whoever is to be remembered beyond the
// browser's window [Session.Remember]. [Manager.Revoke] ends all sessions of a subject;
// with [Options].Listed they can be listed, and ended one by one: [Manager.Sessions],
// [Manager.End]. Clients without cookies send their session in a field:
// [Options].Header.
//
// A request that does not use its session costs no call to the store. One that
// does while the store is out is answered 503, whatever the handler makes of
// the error, unless [Options].Degrade lets it go on without.
//
// Against cross-site request forgery use [http.CrossOriginProtection]; the
// package holds no tokens of its own.
package session
