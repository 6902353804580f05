// Package record says what is stored of an account: the [Record], its JSON form, and every rule that needs nothing but
// records. It knows no store, no provider and no clock; all of it is values and pure functions.
//
// A record has two writers. The operator owns the first fields and the credential. The service owns the access token
// and the [Rotation]; a refresh that rotates the refresh token writes both. Each writes the whole record by
// compare-and-set, and keeps what it does not know (Record.Extra) and what it cannot read ([Slip]) as it is.
//
// [Secret] is the only form of a secret value. No formatter prints it; [Fingerprint] stands for it outside.
package record
