// Package simulation plays the refresh protocol in one process and in virtual time: one to four services, the
// store, an authorization server, operators and clients, and whatever can go wrong with them, from one seed. It is
// test code: nothing here is built into the program.
//
//	go test ./tokenstore/simulation          50,000 faults: fixed seeds and fresh ones
//	make simulate FAULTS=1000000             as many as you like; SEED=7 begins with that seed
//	make mutants                             faults planted into the source, each of which has to be caught
//
// # How it works
//
// A seed is drawn into a plan: who takes part, and a list of faults (plan_test.go). A run of a plan is a world in
// a testing/synctest bubble (world_test.go):
//
//   - A service is a place with a disk and a wall clock; its lives are real tokenstore.Stores, one after the other
//     (service_test.go). All that a life does to the outside is an operation and passes through life.do, where it
//     takes a while, is counted, meets its fault, takes effect and is answered. A crash lets no later operation of
//     that life take effect; what its journal had written is on the disk for the next life.
//   - The store is tokenstoretest.KV, the model of Vault's KV v2 that passes the backends' conformance suite
//     (shelf_test.go); wire_test.go is a life's way to it, and shifts instants by the service's wall clock.
//   - The authorization server (server_test.go) knows the truth of every token: strict, grace or no rotation, and what
//     the driver contract's failures look like. A token of a strict family that is presented twice ends the family.
//   - Operators (operator_test.go) make the edits of docs/vault.md, but for two: one refresh token in two records, and
//     an emptied one. Clients (client_test.go) pick, report, and leave.
//
// After the last fault all that was broken is mended, and the protocol gets the time that it may take. What
// happened is in the ledger; judges are pure functions of it (judges_test.go), each with a test that it can fail
// (judge_test.go). A sign-in may be lost, but only through one of the windows that docs/vault.md lists; losses are
// counted by window.
//
// A seed that fails is shrunk: faults are left out for as long as it still fails (shrink_test.go), and the history
// of what is left is printed, line by line.
//
// # What replays
//
// Faults are placed by counting operations of a service on an account, never by time. How long an operation takes,
// and every jitter, is a function of the seed and the instant, so that two draws in one instant do not depend on
// their order, and no two operations happen in one. What is left is the order in which goroutines run that one
// event wakes in the same instant: a seed comes to the same history nearly always, not by construction.
// TestASeedReplays plays seeds twice. A failure that does not come back with its seed is such a race: play the
// seed a few times, best with GOMAXPROCS=1.
package simulation
