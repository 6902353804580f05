// Package admin is the operator's edge: the HTTP API, the page, metrics and health. It shows fingerprints, never
// secrets, and works on the store through a small port of its own.
package admin
