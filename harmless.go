package main

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tokenward/tokenward/cli"
)

// logCore writes what is logged as the configuration says, and harmless.
func logCore(z zap.Config, out zapcore.WriteSyncer) zapcore.Core {
	if z.Encoding == "console" {
		text := func(line []byte) []byte { return []byte(cli.Clean(string(line))) }
		return zapcore.NewCore(zapcore.NewConsoleEncoder(z.EncoderConfig), harmless{out, text}, z.Level)
	}
	return zapcore.NewCore(zapcore.NewJSONEncoder(z.EncoderConfig), harmless{out, cli.CleanJSON}, z.Level)
}

// harmless is a log that a terminal may show: encoders leave characters that steer one, and providers' and token
// endpoints' words are in it.
type harmless struct {
	zapcore.WriteSyncer

	clean func(line []byte) []byte
}

// Write implements io.Writer.
func (h harmless) Write(line []byte) (int, error) {
	if _, err := h.WriteSyncer.Write(h.clean(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}
