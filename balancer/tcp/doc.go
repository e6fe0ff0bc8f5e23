// Package tcp gives connections to backends: databases and their roles, caches,
// anything that is not HTTP. It uses the same words as package balancer, which
// does so with requests, and picks by the same rules.
//
//	db, err := tcp.New(tcp.Backends("tcp://10.0.0.31:3306", "tcp://10.0.0.32:3306"), tcp.Options{Probe: probe})
//	go db.Run(ctx)
//	writes := db.Only("writes", tcp.Primary)
//	reads := db.Only("reads", tcp.Replicas(5*time.Second), tcp.Primary)
//	err = writes.Serve(ctx, listener)
//
// [Pool.Serve] carries what a listener accepts, every byte, both ways; on Linux
// the kernel does it. [Pool.DialContext] is for drivers in this process. With a
// probe that tells roles (see package sqlprobe) the pool uses one primary, and
// one that should not take writes gets none: see [Options.Memory].
package tcp
