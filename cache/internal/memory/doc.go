// Package memory holds stored responses within a bound in bytes.
//
// What is held and what is counted change in one critical section: the queues
// of the eviction, the tag index and the figures are guarded by one mutex,
// which a hit does not take. Lookups take a read lock on one of many shards.
package memory
