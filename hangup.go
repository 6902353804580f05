package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/config"
)

// hangUps are the SIGHUPs of a service's process. A process that was started to ignore them (nohup) goes on ignoring
// them.
func hangUps() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(c, syscall.SIGHUP)
	}
	return c
}

// outliveReaders keeps the process alive when nobody reads its log any more: writing it fails then, and no more.
func outliveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// endOnHangUp makes a terminal that is closed end a command as Ctrl-C does: what it has begun is saved. The services
// have another use for the signal.
func endOnHangUp(cmd *cobra.Command, _ []string) {
	if cmd.Name() == "serve" || cmd.Name() == "run" || signal.Ignored(syscall.SIGHUP) {
		return
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	cmd.SetContext(ctx)
}

// reload reads the configuration file again. The log's level is put in force; everything else is the start's, so that
// what it would change is named instead. A file that is not valid changes nothing.
func reload(file string, running *config.Config, level zap.AtomicLevel, log *zap.Logger) *config.Config {
	next, err := loadConfig(file)
	if err != nil {
		log.Warn(
			"SIGHUP: the configuration file was read again and is not valid: nothing is changed",
			zap.String("event", "config_rejected"),
			zap.Error(err),
		)
		return running
	}
	applied := *running
	if next.Log.Level != running.Log.Level {
		if err := level.UnmarshalText([]byte(next.Log.Level)); err == nil {
			applied.Log.Level = next.Log.Level
		}
	}
	fields := []zap.Field{zap.String("event", "config_loaded"), zap.String("log_level", applied.Log.Level)}
	if rest := config.Changed(&applied, next); len(rest) > 0 {
		log.Warn(
			"SIGHUP: the configuration file was read again: what has changed needs a restart",
			append(fields, zap.Strings("restart_for", rest))...)
	} else {
		log.Info("SIGHUP: the configuration file was read again: it is in force", fields...)
	}
	return &applied
}
