// Package cli is the operator's command line for accounts. Its commands work on the store directly, by compare-and-set,
// whether or not the service runs; a running service notices within a second.
//
// Secrets come from files or standard input, never from arguments, and are never printed.
package cli
