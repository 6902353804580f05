// Package mutants shows that the simulation can fail: it plants single faults into the protocol's source, one at a
// time, and the simulation has to catch each. Nothing is copied by hand: a mutant is an exact text of one file and
// what stands there instead, given to the compiler as an overlay. A text that is not found exactly once is an
// error, so that the table follows the source.
//
//	make mutants
//
// The tests run the first ten, those that go to the protocol's heart.
package mutants
