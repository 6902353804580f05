package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// readJSON reads a JSON file with secrets. A byte order mark is no part of it. What is wrong is told by its place,
// never by its text.
func readJSON(cmd *cobra.Command, flag, path, what string) ([]byte, error) {
	data, err := readFile(cmd, flag, path, what)
	if err != nil {
		return nil, err
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return nil, errors.New("it is empty")
	case bytes.HasPrefix(data, []byte("\xff\xfe")),
		bytes.HasPrefix(data, []byte("\xfe\xff")),
		bytes.Count(data, []byte{0})*3 >= len(data):
		return nil, errors.New(
			"it is UTF-16, as some Windows programs save text: save it as UTF-8, e.g. with iconv -f UTF-16 -t UTF-8",
		)
	}
	var syntax *json.SyntaxError
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); errors.As(err, &syntax) {
		line, column := place(data, syntax.Offset)
		return nil, fmt.Errorf("it is not valid JSON: line %d, column %d: mend it there", line, column)
	} else if err != nil {
		return nil, errors.New("it is not valid JSON")
	}
	if twice := duplicate(data); twice != "" {
		return nil, fmt.Errorf("it has the key %s twice, and only one can count: remove the other", twice)
	}
	return data, nil
}

// place is the line and the column of an offset, both counted from 1.
func place(data []byte, offset int64) (line, column int) {
	before := data[:min(max(offset-1, 0), int64(len(data)))]
	line = 1 + bytes.Count(before, []byte("\n"))
	return line, len(before) - (bytes.LastIndexByte(before, '\n') + 1) + 1
}

// duplicate is the path of the first key that one object of a valid document has twice; "": there is none. Go's
// decoder, like most, takes the last one in silence.
func duplicate(data []byte) string {
	d := json.NewDecoder(bytes.NewReader(data))
	type object struct {
		keys map[string]bool // nil: a list
		key  string          // the one whose value is read; "" between two
		in   bool
	}
	var open []*object
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) || err != nil {
			return ""
		}
		var top *object
		if len(open) > 0 {
			top = open[len(open)-1]
		}
		if name, ok := t.(string); ok && top != nil && top.keys != nil && !top.in {
			if top.key, top.in = name, true; top.keys[name] {
				var path []string
				for _, o := range open {
					if o.keys != nil {
						path = append(path, fmt.Sprintf("%q", o.key))
					}
				}
				slices.Reverse(path)
				return strings.Join(path, " in ")
			}
			top.keys[name] = true
			continue
		}
		switch t {
		case json.Delim('{'):
			open = append(open, &object{keys: map[string]bool{}})
			continue
		case json.Delim('['):
			open = append(open, &object{})
			continue
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
			if top = nil; len(open) > 0 {
				top = open[len(open)-1]
			}
		}
		if top != nil {
			top.in = false
		}
	}
}
