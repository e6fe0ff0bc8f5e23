//go:build !unix

package edge_test

// succeeds is for systems on which processes pass sockets on.
func succeeds(string) { panic("edge: nothing is handed over here") }
