// Package config reads the configuration file tokenward.yaml.
//
// It is strict: unknown keys, duplicate keys and wrong types are errors, and all problems are reported at once, each with
// its line, value, rule and remedy. Defaults are set in one place before the file is read; validation changes nothing.
// The package knows no other package of the project.
package config
