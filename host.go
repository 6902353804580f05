package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tokenward/tokenward/config"
	"github.com/tokenward/tokenward/private"
)

// place is a path of the configuration that nobody else may change.
type place struct {
	key   string
	path  string
	check func(h private.Host, path string) error
}

// servicePlaces are those of a running service.
func servicePlaces(c *config.Config) []place {
	all := append(storePlaces(c.Store), journalPlaces(c.Store)...)
	all = append(all, place{"admin.token_file", c.Admin.TokenFile, private.Host.File})
	if strings.HasPrefix(c.ExtProc.Listen, "unix:") { // else all that the run folder is for lies beside the token
		all = append(all, place{"extproc.listen", runFolder(c), private.Host.Found})
	}
	return all
}

// storePlaces are those of the embedded store. Vault's credentials are made by others' programs, and may belong to
// them.
func storePlaces(s config.Store) []place {
	if s.Vault != nil {
		return nil
	}
	return []place{
		{"store.sqlite.path", s.SQLite.Path, private.Host.File},
		{"store.sqlite.key_file", s.SQLite.KeyFile, private.Host.File},
	}
}

func journalPlaces(s config.Store) []place {
	if s.JournalDir == "" {
		return nil
	}
	return []place{
		{"store.journal_dir", s.JournalDir, private.Host.Folder},
		{"store.journal_dir", filepath.Clean(s.JournalDir) + ".key", private.Host.File},
	}
}

// outOfReach refuses places that another user of this machine could change.
func outOfReach(c *config.Config, places []place) error {
	return inspect(private.Host{Trusted: c.Host.TrustedFolders}, places)
}

// exposed says what outOfReach would refuse, for a configuration that may be another machine's or another user's.
func exposed(c *config.Config) string {
	h := private.Host{Trusted: c.Host.TrustedFolders, LookOnly: true}
	if err := inspect(h, servicePlaces(c)); err != nil {
		return "here the service would not start as this user: " + err.Error()
	}
	return ""
}

func inspect(h private.Host, places []place) error {
	for _, p := range places {
		err := p.check(h, p.path)
		var exposed *private.ExposedError
		switch {
		case errors.As(err, &exposed) && exposed.Folder:
			return fmt.Errorf("using %s: %w; if they may have every token, add it to host.trusted_folders", p.key, err)
		case exposed != nil:
			return fmt.Errorf("using %s: %w", p.key, err)
		case err != nil:
			return fmt.Errorf("using %s: %w: name another", p.key, err)
		}
	}
	return nil
}

// writeBootstrap writes what tells Envoy where the tokens go. A device or a pipe is written to; anything else is
// replaced.
func writeBootstrap(path string, boot []byte) error {
	var err error
	if st, statErr := os.Stat(path); statErr == nil && !st.Mode().IsRegular() {
		err = os.WriteFile(path, boot, 0o600)
	} else {
		err = private.WriteFile(path, boot)
	}
	if err != nil {
		return fmt.Errorf("writing Envoy's configuration: %w: name another file with -o", err)
	}
	return nil
}
