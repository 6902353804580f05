package main

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// fill sets everything in a value that a record may hold.
func fill(v reflect.Value) {
	switch v.Interface().(type) {
	case tokenstore.Secret:
		v.Set(reflect.ValueOf(tokenstore.NewSecret("secret")))
		return
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1e9, 0).UTC()))
		return
	case map[string]json.RawMessage, []tokenstore.Slip: // what is not known beforehand
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, inner := range v.Fields() {
			fill(inner)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("k"), reflect.ValueOf("v"))
	case reflect.String:
		v.SetString("active")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(1)
	case reflect.Uint64:
		v.SetUint(1)
	default: // what a new kind of field leaves out is missing in the comparison
	}
}

// keysOf lists the keys of an object, those of inner ones by their path.
func keysOf(prefix string, object map[string]any, out map[string]bool) {
	for k, v := range object {
		out[prefix+k] = true
		if inner, ok := v.(map[string]any); ok && prefix+k != "labels" { // whose keys are the operator's
			keysOf(prefix+k+".", inner, out)
		}
	}
}

func TestEveryKeyOfARecordIsInTheDocument(t *testing.T) {
	var r tokenstore.Record
	fill(reflect.ValueOf(&r).Elem())
	data, err := tokenstore.EncodeRecord(r)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(data, &object); err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	keysOf("", object, keys)
	for k := range keys { // a claim is the same wherever it stands
		if strings.HasPrefix(k, "former.claim.") {
			delete(keys, k)
			keys["rotation"+strings.TrimPrefix(k, "former")] = true
		}
	}
	if len(keys) < 50 {
		t.Fatalf("only %d keys were found", len(keys))
	}
	document := rowsOf(t, "docs/record.md", "# The record of an account")
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if _, ok := document[k]; !ok {
			t.Errorf("docs/record.md does not tell of %s", k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(document)) {
		if !keys[k] {
			t.Errorf("docs/record.md tells of %s, which no record has", k)
		}
	}
}
