// Package law is RFC 9111 and its kin as pure functions: values and the time
// in, a judgement out. Each names its section. Nothing here reads a clock,
// keeps state or knows how responses are held.
package law
