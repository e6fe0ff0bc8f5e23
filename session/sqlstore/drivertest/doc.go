// Package drivertest holds session/sqlstore against real databases, by their real
// drivers. It is a module of its own, so that nobody who uses the library has those
// in their go.sum.
package drivertest
