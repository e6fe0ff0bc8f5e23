// Package benchmarks holds foretier's sessions against alexedwards/scs, on the
// same Redis: what a request costs, how many commands Redis gets, and what is
// left of 200 changes made to one session at once.
//
//	go test -run Lost -v .
//	go test -bench . .
//
// It is a module of its own, so that users of the library do not depend on
// what it is compared with.
package benchmarks
