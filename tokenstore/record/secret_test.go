package record_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tokenward/tokenward/tokenstore/record"
)

func TestNoFormatterPrintsASecret(t *testing.T) {
	const value = "hunter2-hunter2"
	s := record.NewSecret(value)
	nested := struct {
		Record record.Record
		inner  record.Secret
		Many   []record.Secret
		Ptr    *record.Secret
	}{record.Record{RefreshToken: s, APIKey: s}, s, []record.Secret{s}, &s}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		for _, x := range []any{s, &s, nested, &nested} {
			_, _ = fmt.Fprintf(&out, verb+"\n", x)
		}
	}
	for _, x := range []any{s, nested, map[string]any{"k": s}} {
		data, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(data)
	}
	log := zap.New(zapcore.NewCore(
		zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zap.DebugLevel))
	log.Info("x", zap.Any("secret", s), zap.Any("nested", nested), zap.Stringer("string", s), zap.Reflect("r", nested.Record))
	if text := out.String(); strings.Contains(text, value) || strings.Contains(text, fmt.Sprintf("%x", value)) ||
		!strings.Contains(text, "[redacted]") {
		t.Errorf("printed:\n%s", text)
	}
}

func TestAFingerprintIsStableAndDiffersBetweenAccounts(t *testing.T) {
	s := record.NewSecret("value")
	a := record.Fingerprint("a", s)
	if len(a) != 16 || a != record.Fingerprint("a", record.NewSecret("value")) || a == record.Fingerprint("b", s) ||
		record.Fingerprint("a", record.Secret{}) != "" {
		t.Errorf("fingerprint %q", a)
	}
}

func TestAShortSecretIsRedactedAsAWordAlone(t *testing.T) {
	for _, c := range []struct{ text, secret, want string }{
		{"invalid_grant: r is unknown", "r", "invalid_grant: [redacted] is unknown"},
		{`invalid_grant: token "abc" of abc_d, abcd, abc`, "abc", `invalid_grant: token "[redacted]" of abc_d, abcd, [redacted]`},
		{"sent=long-secret-value.", "long-secret", "sent=[redacted]-value."},
		{"nothing", "", "nothing"},
		{"", "x", ""},
	} {
		if got := record.Redact(c.text, c.secret); got != c.want {
			t.Errorf("%q out of %q: got %q, want %q", c.secret, c.text, got, c.want)
		}
	}
}
