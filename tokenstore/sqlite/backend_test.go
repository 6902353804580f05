package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/sqlite"
)

func configIn(dir string) sqlite.Config {
	return sqlite.Config{Path: filepath.Join(dir, "store.db"), KeyFile: filepath.Join(dir, "store.key")}
}

func open(t *testing.T, cfg sqlite.Config) *sqlite.Backend {
	t.Helper()
	b, err := sqlite.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// wantRefusal opens a store that must not open, and checks that the error says each of the parts on one line.
func wantRefusal(t *testing.T, cfg sqlite.Config, parts ...string) {
	t.Helper()
	b, err := sqlite.Open(t.Context(), cfg)
	if err == nil {
		_ = b.Close()
		t.Fatal("the store opened")
	}
	for _, part := range append(parts, cfg.Path) {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error lacks %q: %v", part, err)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error has several lines: %q", err)
	}
}

func sample(token string) tokenstore.Record {
	return tokenstore.Record{Provider: "p", Kind: tokenstore.KindOAuthRefresh, RefreshToken: tokenstore.NewSecret(token)}
}

func put(
	t *testing.T, b tokenstore.Backend, id tokenstore.AccountID, token string, expect tokenstore.Version,
) tokenstore.Version {
	t.Helper()
	v, err := b.CompareAndSwap(t.Context(), id, sample(token), expect)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func wantToken(t *testing.T, b tokenstore.Backend, id tokenstore.AccountID, want string) {
	t.Helper()
	r, _, err := b.Load(t.Context(), id)
	if err != nil || r.RefreshToken.Reveal() != want {
		t.Errorf("%s holds %q (%v), want %q", id, r.RefreshToken.Reveal(), err, want)
	}
}

func wantUnreadable(t *testing.T, b tokenstore.Backend, id tokenstore.AccountID, v tokenstore.Version) {
	t.Helper()
	_, at, err := b.Load(t.Context(), id)
	if !errors.Is(err, tokenstore.ErrUnreadable) || at != v {
		t.Errorf("loading %s: version %d, error %v; want version %d and ErrUnreadable", id, at, err, v)
	}
}

// behind runs a statement on the file behind the backend's back, as somebody with the file but without the key could.
func behind(t *testing.T, cfg sqlite.Config, statement string, args ...any) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+cfg.Path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

func TestRecordsOutliveTheBackend(t *testing.T) {
	cfg := configIn(t.TempDir())
	first := open(t, cfg)
	v := put(t, first, "a", "rt", 0)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := open(t, cfg)
	wantToken(t, second, "a", "rt")
	if next := put(t, second, "a", "rt2", v); next <= v {
		t.Errorf("version %d follows %d", next, v)
	}
}

func TestFoldersFilesAndTheKeyArePrivate(t *testing.T) {
	root := t.TempDir()
	cfg := sqlite.Config{Path: filepath.Join(root, "data", "store.db"), KeyFile: filepath.Join(root, "keys", "store.key")}
	put(t, open(t, cfg), "a", "rt", 0) // the log and its index exist now
	for path, want := range map[string]fs.FileMode{
		filepath.Dir(cfg.Path): 0o700, filepath.Dir(cfg.KeyFile): 0o700,
		cfg.Path: 0o600, cfg.Path + "-wal": 0o600, cfg.Path + "-shm": 0o600, cfg.KeyFile: 0o600,
	} {
		st, err := os.Stat(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if st.Mode().Perm() != want {
			t.Errorf("%s has mode %04o, want %04o", filepath.Base(path), st.Mode().Perm(), want)
		}
	}
	left, err := os.ReadDir(filepath.Dir(cfg.KeyFile))
	if err != nil || len(left) != 1 {
		t.Errorf("beside the key there is %v (%v)", left, err)
	}
}

func TestNoSecretIsInTheFile(t *testing.T) {
	cfg := configIn(t.TempDir())
	put(t, open(t, cfg), "a", "very-secret-refresh-token", 0)
	for _, path := range []string{cfg.Path, cfg.Path + "-wal"} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "very-secret") {
			t.Errorf("%s holds the token in clear", filepath.Base(path))
		}
	}
}

func TestAPathWithOddCharactersIsTheFileThatIsUsed(t *testing.T) {
	dir := t.TempDir()
	cfg := sqlite.Config{Path: filepath.Join(dir, "a b?c=d#e%41&f.db"), KeyFile: filepath.Join(dir, "k e y")}
	put(t, open(t, cfg), "a", "rt", 0)
	found, err := filepath.Glob(filepath.Join(dir, "*.db"))
	if err != nil || len(found) != 1 || found[0] != cfg.Path {
		t.Errorf("there are %v (%v), want only %s", found, err, cfg.Path)
	}
	if st, err := os.Stat(cfg.Path); err != nil || st.Size() == 0 {
		t.Errorf("%s is not the database: %v", cfg.Path, err)
	}
}

func TestAKeyThatOthersCanReadIsRefused(t *testing.T) {
	for _, mode := range []fs.FileMode{0o644, 0o640, 0o604, 0o620, 0o602, 0o601, 0o666, 0o777} {
		cfg := configIn(t.TempDir())
		_ = open(t, cfg).Close()
		if err := os.Chmod(cfg.KeyFile, mode); err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, cfg, "opening the store", cfg.KeyFile, "can be read by others", "chmod 600")
	}
}

func TestAMissingKeyIsNotReplacedWhileThereAreRecords(t *testing.T) {
	cfg := configIn(t.TempDir())
	b := open(t, cfg)
	put(t, b, "a", "rt", 0)
	_ = b.Close()
	if err := os.Remove(cfg.KeyFile); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, cfg, "opening the store", cfg.KeyFile, "missing", "backup")
	if _, err := os.Stat(cfg.KeyFile); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a new key was written: %v", err)
	}
}

func TestAKeyFileThatIsNoKeysetIsRefusedWithoutShowingItAndReplacesNothing(t *testing.T) {
	const planted = "planted-secret"
	for name, content := range map[string]string{
		"text": "no keyset: " + planted, "empty": "", "blank": "\n", "an object": "{}", "null": "null", "a list": "[]",
		"no keys": `{"primaryKeyId":1,"key":[]}`, "half of one": `{"primaryKeyId":1,"key":[{"keyData":{"value":"` + planted,
		"a primary key that is not there": keysetOf(7, "AesGcmKey", "GhAAAAAAAAAAAAAAAAAAAAAA"),
		"a key of another kind":           keysetOf(1, "HmacKey", "EgQIAxAgGiAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="),
		"100,000 levels":                  strings.Repeat("[", 100_000), "bytes": "\xff\x00\xfe",
	} {
		for when, used := range map[string]bool{"of a new store": false, "of a store with records": true} {
			t.Run(name+", "+when, func(t *testing.T) {
				cfg := configIn(t.TempDir())
				var right []byte
				if used {
					b := open(t, cfg)
					put(t, b, "a", "rt", 0)
					_ = b.Close()
					right, _ = os.ReadFile(cfg.KeyFile)
				}
				if err := os.WriteFile(cfg.KeyFile, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
				wantRefusal(t, cfg, "opening the store", cfg.KeyFile, "no Tink keyset", "backup")
				if _, err := sqlite.Open(t.Context(), cfg); strings.Contains(err.Error(), planted) {
					t.Errorf("the error shows the file: %v", err)
				}
				if now, err := os.ReadFile(cfg.KeyFile); err != nil || string(now) != content {
					t.Errorf("the file was changed, or %v", err)
				}
				if used {
					if err := os.WriteFile(cfg.KeyFile, right, 0o600); err != nil {
						t.Fatal(err)
					}
					wantToken(t, open(t, cfg), "a", "rt")
				}
			})
		}
	}
}

// keysetOf is a keyset of one key, number 1.
func keysetOf(primary int, kind, value string) string {
	return fmt.Sprintf(`{"primaryKeyId":%d,"key":[{"keyData":{"typeUrl":"type.googleapis.com/google.crypto.tink.%s",`+
		`"value":"%s","keyMaterialType":"SYMMETRIC"},"status":"ENABLED","keyId":1,"outputPrefixType":"TINK"}]}`,
		primary, kind, value)
}

func TestANewerFormatIsRefused(t *testing.T) {
	cfg := configIn(t.TempDir())
	_ = open(t, cfg).Close()
	behind(t, cfg, "PRAGMA user_version = 99")
	wantRefusal(t, cfg, "opening the store", "newer tokenward", "99", "use that version")
}

func TestAFileThatIsNoDatabaseIsRefused(t *testing.T) {
	cfg := configIn(t.TempDir())
	if err := os.WriteFile(cfg.Path, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, cfg, "opening the store")
}

func TestWithTheWrongKeyRecordsAreUnreadableAndStillListed(t *testing.T) {
	cfg := configIn(t.TempDir())
	v := put(t, open(t, cfg), "a", "rt", 0)
	other := configIn(t.TempDir())
	_ = open(t, other).Close()
	wrong := open(t, sqlite.Config{Path: cfg.Path, KeyFile: other.KeyFile})
	wantUnreadable(t, wrong, "a", v)
	if heads, err := wrong.List(t.Context()); err != nil || len(heads) != 1 || heads[0].Version != v {
		t.Errorf("listed %v, %v", heads, err)
	}
}

func TestSwappedRowsAreDetected(t *testing.T) {
	cfg := configIn(t.TempDir())
	b := open(t, cfg)
	va, vb := put(t, b, "a", "rt-a", 0), put(t, b, "b", "rt-b", 0)
	behind(t, cfg, "CREATE TABLE kept AS SELECT id, payload FROM accounts")
	behind(t, cfg, "UPDATE accounts SET payload = (SELECT payload FROM kept WHERE kept.id <> accounts.id)")
	wantUnreadable(t, b, "a", va)
	wantUnreadable(t, b, "b", vb)
}

func TestAnAccountIsNotServedUnderAnotherName(t *testing.T) {
	cfg := configIn(t.TempDir())
	b := open(t, cfg)
	v := put(t, b, "a", "rt-a", 0)
	behind(t, cfg, "UPDATE accounts SET id = 'b'")
	wantUnreadable(t, b, "b", v)
}

func TestAnOldPayloadUnderTheCurrentVersionIsDetected(t *testing.T) {
	cfg := configIn(t.TempDir())
	b := open(t, cfg)
	old := put(t, b, "a", "rt-1", 0)
	behind(t, cfg, "CREATE TABLE kept AS SELECT payload FROM accounts")
	v := put(t, b, "a", "rt-2", old)
	behind(t, cfg, "UPDATE accounts SET payload = (SELECT payload FROM kept)")
	wantUnreadable(t, b, "a", v)
}

func TestAnInvalidAccountIDIsRefused(t *testing.T) {
	b := open(t, configIn(t.TempDir()))
	for _, id := range []tokenstore.AccountID{"", ".a", "a/b", "a b", tokenstore.AccountID(strings.Repeat("a", 129))} {
		if _, err := b.CompareAndSwap(t.Context(), id, sample("rt"), 0); err == nil ||
			errors.Is(err, tokenstore.ErrConflict) {
			t.Errorf("id %q: %v", id, err)
		}
	}
}

func TestManyThatOpenANewStoreAtOnceShareItsKey(t *testing.T) {
	cfg := configIn(t.TempDir())
	const openers = 16
	backends := make([]*sqlite.Backend, openers)
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range openers {
		group.Go(func() {
			<-start
			b, err := sqlite.Open(context.Background(), cfg)
			if err != nil {
				t.Error(err)
				return
			}
			backends[i] = b
		})
	}
	close(start)
	group.Wait()
	for i, b := range backends {
		if b == nil {
			continue
		}
		defer func() { _ = b.Close() }()
		id := tokenstore.AccountID("account-" + string(rune('a'+i)))
		put(t, b, id, "rt", 0)
		for _, other := range backends {
			if other != nil {
				wantToken(t, other, id, "rt")
			}
		}
	}
}

func BenchmarkCompareAndSwap(b *testing.B) {
	s, err := sqlite.Open(b.Context(), configIn(b.TempDir()))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var v tokenstore.Version
	for b.Loop() {
		if v, err = s.CompareAndSwap(b.Context(), "a", sample("rt"), v); err != nil {
			b.Fatal(err)
		}
	}
}

// Many accounts that are renewed at once: each writer has its own record and all share the file.
func BenchmarkCompareAndSwapByManyWriters(b *testing.B) {
	s, err := sqlite.Open(b.Context(), configIn(b.TempDir()))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	b.SetParallelism(32)
	var mu sync.Mutex // guards next
	next := 'a'
	b.RunParallel(func(pb *testing.PB) {
		mu.Lock()
		id := tokenstore.AccountID("w-" + strings.Repeat("x", int(next-'a')))
		next++
		mu.Unlock()
		var v tokenstore.Version
		for pb.Next() {
			at, err := s.CompareAndSwap(b.Context(), id, sample("rt"), v)
			if errors.Is(err, tokenstore.ErrConflict) {
				_, at, err = s.Load(b.Context(), id)
			}
			if err != nil {
				b.Error(err)
				return
			}
			v = at
		}
	})
}
