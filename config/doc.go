// Package config reads the configuration file tokenward.yaml.
//
// It is strict: unknown keys, duplicate keys and wrong types are errors, and all problems are reported at once, each
// with its line, value, rule and remedy. The tables in keys*.go say everything of every key: its name, kind, default,
// rule and meaning, and the field that it is read into. Reading, printing, defaults, paths, what a misspelt key was
// meant to be, and docs/configuration.md come from them. To add a key, add a field, a row, and the key to a file of the
// tests; go test ./config -update writes the page.
//
// What one value alone does not tell is checked after reading (check.go and the files named like sections); this
// changes nothing. Rules of values that another package owns come from there: of Vault's section from access, of
// drivers by Known.
package config
