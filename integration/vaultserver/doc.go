// Package vaultserver runs a real Vault as a child process of a test: a development server, or a single node on raft
// that can be sealed, killed, stopped and restarted on the same data.
//
// The program is $VAULT, else the one that `make vault` builds, else vault or bao on PATH. A test that needs Vault on a
// machine that has none fails, and says how to get it. Servers listen on random loopback ports, see a home folder of
// their own, and die with the test process.
package vaultserver
