package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/tokenward/tokenward/tokenstore"
)

// mostRead is how much of a file with secrets is read, in bytes.
const mostRead = 64 << 20

// readSecret reads a secret from the file that a flag names, or standard input for "-". What cannot be such a secret is
// refused.
func readSecret(cmd *cobra.Command, flag, path, what string, g tokenstore.Grammar) (tokenstore.Secret, error) {
	if path == "" {
		return tokenstore.Secret{}, nil
	}
	data, err := readFile(cmd, "--"+flag, path, "a secret, "+what)
	if err != nil {
		return tokenstore.Secret{}, err
	}
	s, flaw := tokenstore.ReadSecret(data, g)
	if flaw != "" {
		return tokenstore.Secret{}, Usagef("reading a secret from %s: %s %s", source(path), what, flaw)
	}
	return s, nil
}

func source(path string) string {
	if path == "-" {
		return "standard input"
	}
	return path
}

// readFile reads a file with secrets, or standard input for "-", and warns when others can read it too. A secret that
// somebody typed in place of a file's name is not printed back. flag is what the name was given with, "" if nobody
// typed it.
func readFile(cmd *cobra.Command, flag, path, what string) ([]byte, error) {
	if path == "-" {
		data, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), mostRead))
		if err != nil {
			return nil, fmt.Errorf("reading %s from standard input: %w", what, err)
		}
		return data, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, &unreadError{notOpened(flag, path, what, err)}
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, mostRead))
	if err != nil {
		return nil, &unreadError{fmt.Errorf("reading %s: %w", what, err)}
	}
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o077 != 0 {
		fmt.Fprintf(cmd.ErrOrStderr(),
			"note: others can read %s (mode %04o), and it holds %s: chmod 600 it, or delete it now\n", path, st.Mode().Perm(),
			what)
	}
	return data, nil
}

// unreadError is of a file that could not be read at all.
type unreadError struct{ error }

func (e *unreadError) Unwrap() error { return e.error }

// notOpened says why a file cannot be read. Its name is told only if it is one: its folder exists, or it does.
func notOpened(flag, path, what string, err error) error {
	var cause *os.PathError
	if !errors.As(err, &cause) {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	_, missing := os.Lstat(path)
	folder := filepath.Dir(path)
	st, noFolder := os.Stat(folder)
	named := flag == "" || folder != "." && folder != "/" && noFolder == nil && st.IsDir()
	if missing == nil || named {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	return fmt.Errorf(
		"reading %s: there is no file of the name that %s was given (%w): it takes a file's name, or - for standard input; "+
			"if that was the secret itself, it is in your shell's history now",
		what, flag, cause.Err,
	)
}

// readLine reads the one line of a file, or of standard input for "-", without surrounding white space.
func readLine(cmd *cobra.Command, flag, path, what string) (string, error) {
	data, err := readFile(cmd, flag, path, what)
	if err != nil {
		return "", err
	}
	value := strings.TrimFunc(string(data), func(c rune) bool { return unicode.IsSpace(c) || c == '\ufeff' })
	if value == "" || strings.ContainsAny(value, "\r\n") {
		return "", Usagef("reading %s from %s: it must hold one line that is not empty", what, source(path))
	}
	return value, nil
}
