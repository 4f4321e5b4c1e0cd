package node

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/manage"
)

// What is not as it was when the backup was made is not restored without a word, nor with a key that opens nothing of it.
func TestDamagedBackup(t *testing.T) {
	c := testConfig(t, nil)
	r := start(t, c, testAccounts)
	r.send("someone@mailbox.test")
	r.stop()
	whole, key := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "key")
	info, err := Backup(t.Context(), c, whole, BackupOptions{Key: key})
	if err != nil || len(info.Files) < 3 {
		t.Fatalf("%+v, %v", info, err)
	}
	if _, err := Backup(t.Context(), c, filepath.Join(t.TempDir(), "next"), BackupOptions{Key: key}); err != nil {
		t.Errorf("the next backup, with the same file for the key: %v", err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if _, _, err := manage.LoadMasterKey(other); err != nil {
		t.Fatal(err)
	}
	if _, err := Backup(t.Context(), c, filepath.Join(t.TempDir(), "none"), BackupOptions{Key: other}); err == nil || !strings.Contains(err.Error(), "another master key") {
		t.Errorf("over another key: %v", err)
	}
	if _, err := Restore(t.Context(), testConfig(t, nil), whole, RestoreOptions{Key: other}); err == nil || !strings.Contains(err.Error(), "another master key") {
		t.Errorf("with another key: %v", err)
	}
	platform := filepath.Join(StoreDir, "platform.db")
	for _, tt := range []struct {
		want  string
		spoil func(file string) error
	}{
		{"platform.db is missing", os.Remove},
		{"platform.db is not what it was", func(file string) error { return os.Truncate(file, 100) }},
		{"platform.db is not what it was", func(file string) error {
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			b[len(b)/2] ^= 1
			return os.WriteFile(file, b, 0o600)
		}},
	} {
		from, fresh := filepath.Join(t.TempDir(), "damaged"), testConfig(t, nil)
		if err := copyTree(whole, from); err != nil {
			t.Fatal(err)
		}
		if err := tt.spoil(filepath.Join(from, platform)); err != nil {
			t.Fatal(err)
		}
		if _, err := Restore(t.Context(), fresh, from, RestoreOptions{Key: key}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("want %q, got %v", tt.want, err)
		}
		for _, path := range []string{fresh.Data, fresh.Data + ".restoring", MasterKeyFile(fresh)} {
			if _, err := os.Stat(path); err == nil {
				t.Errorf("%s: there is %s", tt.want, path)
			}
		}
		if r, err := Restore(t.Context(), fresh, from, RestoreOptions{Key: key, AcceptDamage: true}); err != nil || len(r.Damage) != 1 {
			t.Errorf("%s, accepted: %q, %v", tt.want, r.Damage, err)
		}
	}
	// What an operator has added is copied too.
	if err := os.MkdirAll(filepath.Join(whole, ArchiveDir, "shop"), 0o700); err != nil {
		t.Fatal(err)
	}
	fresh := testConfig(t, nil)
	if _, err := Restore(t.Context(), fresh, whole, RestoreOptions{Key: key}); err != nil {
		t.Error(err)
	} else if _, err := os.Stat(filepath.Join(fresh.Data, ArchiveDir, "shop")); err != nil {
		t.Error(err)
	}
}

// One damaged day of the record costs that day, not the backup; what is made of the backup starts, and says what it lacks.
func TestBackupWithoutDamagedDay(t *testing.T) {
	c := testConfig(t, nil)
	r := start(t, c, testAccounts)
	r.send("someone@mailbox.test")
	r.stop()
	days, err := filepath.Glob(filepath.Join(c.Data, StoreDir, "record", "*.db"))
	if err != nil || len(days) == 0 {
		t.Fatalf("days: %v, %v", days, err)
	}
	if err := os.WriteFile(days[0], []byte(strings.Repeat("no database", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "backup")
	info, err := Backup(t.Context(), c, to, BackupOptions{})
	name := "store/record/" + filepath.Base(days[0])
	if err != nil || len(info.Damaged) != 1 || info.Damaged[0].Name != name || info.Damaged[0].Problem == "" {
		t.Fatalf("%+v, %v", info.Damaged, err)
	}
	for _, f := range info.Files {
		if f.Name == name {
			t.Errorf("%s is said to be in the backup", name)
		}
	}
	fresh := testConfig(t, nil)
	restored, err := Restore(t.Context(), fresh, to, RestoreOptions{})
	if err != nil || len(restored.Damage) != 0 || len(restored.Damaged) != 1 {
		t.Fatalf("restored with %+v, %v", restored, err)
	}
	r = start(t, fresh, "")
	r.send("next@mailbox.test")
	r.stop()
}

// A backup that fails leaves nothing behind, and one that was killed is told from one that is whole.
func TestFailedBackup(t *testing.T) {
	c := testConfig(t, nil)
	start(t, c, testAccounts).stop()
	to, key := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "key")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Backup(ended, c, to, BackupOptions{Key: key}); err == nil {
		t.Error("a backup without time succeeded")
	}
	for _, path := range []string{to, key} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("there is %s", path)
		}
	}
	if _, err := Backup(t.Context(), c, to, BackupOptions{Key: key}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"there is a backup in it already", "was not finished"} {
		if _, err := Backup(t.Context(), c, to, BackupOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
		if err := os.RemoveAll(filepath.Join(to, backupInfo)); err != nil {
			t.Fatal(err)
		}
	}
}
