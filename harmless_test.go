package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestNoWordInTheLogSteersATerminal(t *testing.T) {
	const word = "a\x1b[31mb\u009b31mc\u202ed\x7fe\U000e0041f ä"
	for encoding, config := range map[string]zap.Config{
		"json": zap.NewProductionConfig(), "console": zap.NewDevelopmentConfig(),
	} {
		var out bytes.Buffer
		log := zap.New(logCore(config, zapcore.AddSync(&out)))
		log.Warn(word, zap.String("error", word))
		if strings.ContainsAny(out.String(), "\x1b\u009b\u202e\x7f\U000e0041") || !strings.Contains(out.String(), "ä") {
			t.Errorf("%s: %q", encoding, out.String())
		}
		if encoding != "json" {
			continue
		}
		var got struct{ Msg, Error string }
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.Msg != word || got.Error != word {
			t.Errorf("%v: %+v", err, got)
		}
	}
}
