package record

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// The bookkeeping is read key by key: a key that the list of keys lacks would be lost at every read.
func TestEveryKeyOfTheBookkeepingIsRead(t *testing.T) {
	for i := range reflect.TypeFor[Rotation]().NumField() {
		key, _, _ := strings.Cut(reflect.TypeFor[Rotation]().Field(i).Tag.Get("json"), ",")
		value := map[string]string{
			"format": "1", "generation": "7", "spent": `["x"]`, "claim": `{"attempt_id":"a","holder":"h"}`, "last": `{"result":"failed"}`,
			"dead": `{"fingerprint":"f"}`, "rejected": `{"error":"e"}`,
		}[key]
		if value == "" {
			value = `"text"`
		}
		var r wireRotation
		if err := json.Unmarshal([]byte(`{"`+key+`":`+value+`}`), &r); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		if reflect.ValueOf(r).Field(i).IsZero() {
			t.Errorf("%s is not read", key)
		}
	}
}
