// Command tokenward keeps OAuth accounts alive behind Envoy. See README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tokenward/tokenward/cli"
	"github.com/tokenward/tokenward/config"
	"github.com/tokenward/tokenward/envoy"
	"github.com/tokenward/tokenward/tokenstore/provider"
)

// Set by the linker.
var (
	version = "dev"
	commit  = "unknown"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := root().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "tokenward:", cli.Clean(strings.TrimPrefix(strings.TrimSpace(err.Error()), "tokenward: ")))
	}
	os.Exit(cli.Code(err))
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:              "tokenward",
		Short:            "keeps OAuth accounts alive behind Envoy",
		SilenceErrors:    true,
		SilenceUsage:     true,
		Args:             cobra.NoArgs,
		PersistentPreRun: endOnHangUp,
		RunE:             func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.SetFlagErrorFunc(wrongFlag)
	c.AddCommand(serveCommand(), runCommand(), initCommand(), checkCommand(), envoyCommand(), versionCommand())
	c.AddCommand(cli.Commands(openSession, provider.Kinds()...)...)
	asUsage(c)
	return c
}

// asUsage gives wrong arguments the exit code of wrong usage.
func asUsage(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return wrongArguments(cmd, args, err)
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		asUsage(sub)
	}
}

func withConfig(c *cobra.Command) *string {
	return c.Flags().StringP("config", "c", "", "configuration file (default ./"+defaultFile+")")
}

func serveCommand() *cobra.Command {
	c := &cobra.Command{Use: "serve", Short: "ext_proc server, renewal, admin", Args: cobra.NoArgs}
	file := withConfig(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		hung := hangUps()
		cfg, err := loadConfig(*file)
		if err != nil {
			return err
		}
		return serve(cmd.Context(), hung, *file, cfg, nil)
	}
	return c
}

func runCommand() *cobra.Command {
	c := &cobra.Command{Use: "run", Short: "serve, with an Envoy of its own", Args: cobra.NoArgs}
	file := withConfig(c)
	path := c.Flags().String("envoy", "", "the Envoy to run (default $ENVOY, else envoy on PATH)")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		hung := hangUps()
		cfg, err := loadConfig(*file)
		if err != nil {
			return err
		}
		bin, err := envoy.Find(*path)
		if err != nil {
			return err
		}
		v, err := envoy.CheckVersion(cmd.Context(), bin)
		if err != nil {
			if cmd.Context().Err() != nil {
				return nil //nolint:nilerr // asked to stop before anything was started
			}
			return err
		}
		warn(cmd, v.Warning(bin))
		fitting, warning := fitConnections(cfg)
		warn(cmd, warning)
		boot, err := bootstrap(fitting, adminSocket(cfg))
		if err != nil {
			return err
		}
		return serve(cmd.Context(), hung, *file, cfg, &envoy.ChildConfig{
			Path: bin, Bootstrap: boot, RunFolder: runFolder(cfg), Admin: adminSocket(cfg), Output: os.Stdout,
			Blocked: func(ctx context.Context) error { return envoyBlocked(ctx, cfg) },
		})
	}
	return c
}

// warn prints a warning, if there is one, where it does not mix with the output.
func warn(cmd *cobra.Command, warning string) {
	if warning != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "tokenward: warning: "+warning)
	}
}

func initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "write a commented " + defaultFile,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := os.OpenFile(defaultFile, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) //nolint:gosec // holds no secrets
			if errors.Is(err, os.ErrExist) {
				return &cli.ExitError{
					Code: cli.ExitRefused,
					Err: errors.New(
						"writing " + defaultFile + ": it exists and is left as it is: remove it first, or work in another folder",
					),
				}
			}
			if err != nil {
				return err
			}
			_, err = f.Write(config.Starter())
			if err = errors.Join(err, f.Close()); err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), "wrote "+defaultFile+"; next: tokenward accounts add, then tokenward run")
			}
			return err
		},
	}
}

func checkCommand() *cobra.Command {
	c := &cobra.Command{Use: "check", Short: "validate the configuration", Args: cobra.NoArgs}
	file := withConfig(c)
	show := c.Flags().Bool("print", false, "print the effective configuration, secrets hidden")
	online := c.Flags().Bool("online", false,
		"also open the store and the journal, read the accounts and reach the token endpoints, "+
			"without spending anything")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(*file)
		if err != nil {
			return err
		}
		if _, err := bootstrap(cfg, ""); err != nil {
			return cli.Usagef("%w", err)
		}
		for _, note := range config.Notes(cfg) {
			warn(cmd, note)
		}
		if bin, err := envoy.Find(""); err == nil { // the configuration is as good where there is none
			v, err := envoy.CheckVersion(cmd.Context(), bin)
			if err != nil {
				warn(cmd, err.Error())
			}
			warn(cmd, v.Warning(bin))
		}
		if !*online {
			warn(cmd, exposed(cfg))
		} else {
			out := cmd.OutOrStdout()
			if *show {
				out = cmd.ErrOrStderr() // the configuration is printed for whoever reads it as YAML
			}
			if err := checkOnline(cmd.Context(), cfg, out); err != nil {
				return err
			}
		}
		if !*show {
			fmt.Fprintln(cmd.OutOrStdout(), "the configuration is valid")
			fmt.Fprintln(cmd.OutOrStdout(), describe(envoyConfig(cfg).Bounds()))
			return nil
		}
		text, err := config.Print(cfg)
		if err == nil {
			_, err = cmd.OutOrStdout().Write(text)
		}
		return err
	}
	return c
}

func envoyCommand() *cobra.Command {
	c := &cobra.Command{Use: "envoy", Short: "print the complete Envoy bootstrap", Args: cobra.NoArgs}
	file := withConfig(c)
	out := c.Flags().StringP("output", "o", "", "write it to a file")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(*file)
		if err != nil {
			return err
		}
		boot, err := bootstrap(cfg, "")
		if err != nil {
			return err
		}
		if *out != "" {
			return writeBootstrap(*out, boot)
		}
		_, err = cmd.OutOrStdout().Write(boot)
		return err
	}
	return c
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "version, commit, Go, supported Envoy",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintf(cmd.OutOrStdout(), "tokenward %s (commit %s, %s, Envoy %s or later; patched: %s)\n", version, commit,
				runtime.Version(), envoy.Oldest, envoy.Patched())
		},
	}
}
