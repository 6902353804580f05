package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Load reads, completes and checks the file. The error is of type Problems when the file could be read. env looks up
// environment variables (os.LookupEnv).
func Load(path string, known Known, env func(string) (string, bool)) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w: write one with tokenward init, or name yours with -c", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	k, err := parse(filepath.Base(path), data, known, env)
	if err != nil {
		return nil, err
	}
	k.config.resolvePaths(filepath.Dir(abs))
	k.checkFiles()
	k.checkHost()
	return k.result()
}

// parse reads, completes and checks without any I/O.
func parse(file string, data []byte, known Known, env func(string) (string, bool)) (*checker, error) {
	r := &reader{file: file, env: env, values: map[string]*yaml.Node{}}
	c := &Config{Providers: map[string]Provider{}, Pools: map[string]Pool{}, Upstreams: map[string]Upstream{}}
	whole := c.whole()
	r.preset(whole.rows, "")
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return nil, noYAML(file, err)
	default:
		whole.read(r, doc.Content[0], "")
		switch err := d.Decode(&second); {
		case err == nil:
			r.report(second.Content[0], "", "", "a second YAML document begins here", "keep one")
		case !errors.Is(err, io.EOF):
			return nil, noYAML(file, err)
		}
	}
	k := &checker{reader: r, config: c, known: known, absent: map[string]bool{}, implied: map[string]string{}}
	k.complete()
	k.check()
	return k, nil
}

func (k *checker) result() (*Config, error) {
	if len(k.problems) > 0 {
		return nil, k.problems.sorted()
	}
	return k.config, nil
}

func noYAML(file string, err error) Problems {
	return Problems{{File: file, Rule: "is no YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}}
}
