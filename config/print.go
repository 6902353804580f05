package config

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Print renders the effective configuration as a file that loads to the same, but for what may be secret: header values
// and the user of a proxy's URL are hidden.
func Print(c *Config) ([]byte, error) {
	var buf bytes.Buffer
	e := yaml.NewEncoder(&buf)
	e.SetIndent(2)
	if err := e.Encode(c.whole().show(false)); err != nil {
		return nil, fmt.Errorf("printing the configuration: %w", err)
	}
	return buf.Bytes(), e.Close()
}
