package config

import _ "embed"

//go:embed starter.yaml
var starter []byte

// Starter is the commented file that `tokenward init` writes.
func Starter() []byte { return starter }
