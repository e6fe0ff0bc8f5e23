// Package proof decides what holds of every request, by looking at few.
//
// A [Condition] adds to a [Space] what it tells apart: values of dimensions, such as
// the method or the lines of one header, and [Pattern]s of paths. Of a [Class] of
// paths, for which one path stands, it then says with a [Formula] which values meet
// it. [Prove] follows all classes and values down a [Table] to what must not be
// reached; [Coverage] tells which conditions hold wherever others do.
//
// The package knows no rules, matchers and handlers but as its own types draw them,
// and calls none of them.
package proof
