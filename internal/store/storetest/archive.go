package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// ArchiveOptions are what the suite asks of an archive it opens.
type ArchiveOptions struct {
	Key     func(account string) [32]byte
	Now     func() time.Time
	MayGrow func() error
	Step    func(name string) error
}

// ArchiveOpener opens the archive that lives in dir.
type ArchiveOpener func(t *testing.T, dir string, o ArchiveOptions) store.Archive

// RunArchive runs the contract of store.Archive.
func RunArchive(t *testing.T, opener ArchiveOpener) {
	open := func(t *testing.T, dir string, o ArchiveOptions) store.Archive {
		t.Helper()
		if o.Now == nil {
			o.Now = Still()
		}
		return opener(t, dir, o)
	}
	for name, test := range map[string]func(*testing.T, ArchiveOpener){
		"Read":     testArchiveRead,
		"Sealed":   testArchiveSealed,
		"Find":     testArchiveFind,
		"FindTime": testArchiveFindTime,
		"Erase":    testArchiveErase,
		"Drop":     testArchiveDrop,
		"Crash":    testArchiveCrash,
		"Floor":    testArchiveFloor,
		"Backup":   testArchiveBackup,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open)
		})
	}
}

func archiveKey(account string) (key [32]byte) {
	copy(key[:], "the key of "+account)
	return key
}

func freshArchive(t *testing.T, open ArchiveOpener, dir string, o ArchiveOptions) store.Archive {
	t.Helper()
	if o.Key == nil {
		o.Key = archiveKey
	}
	a := open(t, dir, o)
	t.Cleanup(func() { must(t, a.Close()) })
	return a
}

// archived is a message with its content, for the archive.
type archived struct {
	m       *mail.Message
	to      []store.ArchivedRecipient
	content []byte
}

// idAt returns an id of that time. Those of one time come in order of n, below 4096; mail.NewMessageID would follow the
// newest id of the process, which another test made.
func idAt(at time.Time, n int) (id [16]byte) {
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	binary.BigEndian.PutUint64(id[:8], uint64(at.UnixMilli())<<16|7<<12|uint64(n))
	return id
}

func newArchived(at time.Time, account string, content []byte, to ...string) archived {
	a := archived{content: content, m: &mail.Message{
		ID: mail.MessageID(idAt(at, 0)), Account: account, Stream: mail.Transactional, From: mail.Address{Local: "news", Domain: "shop.example"},
		AcceptedAt: at, HeaderFrom: "news@shop.example", Subject: "SECRETSUBJECT", Size: int64(len(content)), Recipients: len(to),
	}}
	for i, x := range to {
		a.to = append(a.to, store.ArchivedRecipient{Address: x, Delivery: mail.DeliveryID(idAt(at, i))})
	}
	return a
}

func (a *archived) item() store.ArchiveItem {
	return store.ArchiveItem{
		Message: a.m,
		Open:    func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(a.content)), nil },
		Recipients: func(_ context.Context, yield func(store.ArchivedRecipient) error) error {
			for _, r := range a.to {
				if err := yield(r); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func putArchived(t *testing.T, a store.Archive, list ...archived) {
	t.Helper()
	for _, x := range list {
		must(t, a.PutArchived(t.Context(), x.m.Account, 30, []store.ArchiveItem{x.item()}))
	}
}

// same checks that the archive gives back what was put in.
func (x *archived) same(t *testing.T, a store.Archive, account string) {
	t.Helper()
	got, err := a.Archived(t.Context(), account, x.m.ID)
	must(t, err)
	if diff := cmp.Diff(x.m, got.Message); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	var to []store.ArchivedRecipient
	var after mail.DeliveryID
	for {
		page, err := a.ArchivedRecipients(t.Context(), account, x.m.ID, after, 2)
		must(t, err)
		if len(page) == 0 {
			break
		}
		to = append(to, page...)
		after = page[len(page)-1].Delivery
	}
	if diff := cmp.Diff(x.to, to); diff != "" {
		t.Errorf("recipients (-want +got):\n%s", diff)
	}
	r, err := a.OpenArchived(t.Context(), account, x.m.ID)
	must(t, err)
	content, err := io.ReadAll(r)
	must(t, err)
	must(t, r.Close())
	if !bytes.Equal(content, x.content) {
		t.Errorf("content: %d octets, want %d; they differ", len(content), len(x.content))
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}

func testArchiveRead(t *testing.T, open ArchiveOpener) {
	dir := t.TempDir()
	a := open(t, dir, ArchiveOptions{Key: archiveKey})
	list := []archived{
		newArchived(Day0, "acme", []byte("Subject: small\r\n\r\nHello\r\n"), "ann@example.net"),
		newArchived(Day0, "acme", []byte{}, "ann@example.net"),
		newArchived(Day0, "acme", noise(1<<20), "ann@example.net", "bob@example.net"),
		newArchived(Day0.Add(day), "acme", noise(3<<20+17), "ann@example.net", "bob@example.net", "eve@example.net"),
		newArchived(Day0, "beta", bytes.Repeat([]byte("text "), 1<<20), "ann@example.net"),
	}
	putArchived(t, a, list...)
	putArchived(t, a, list...) // a second time changes nothing
	must(t, a.PutArchived(t.Context(), "acme", 30, []store.ArchiveItem{list[0].item(), list[3].item()}))
	must(t, a.Close())

	a = freshArchive(t, open, dir, ArchiveOptions{})
	for i := range list {
		list[i].same(t, a, list[i].m.Account)
		list[i].same(t, a, "")
	}
	_, err := a.Archived(t.Context(), "beta", list[0].m.ID)
	wantErr(t, err, store.ErrNotFound)
	_, err = a.OpenArchived(t.Context(), "acme", mail.MessageID(idAt(Day0, 1)))
	wantErr(t, err, store.ErrNotFound)
	files, err := a.ArchiveFiles(t.Context())
	must(t, err)
	var names []string
	for _, n := range files {
		f, err := a.ArchiveFile(t.Context(), n)
		must(t, err)
		names = append(names, fmt.Sprint(f.Account, " ", f.Day, " ", f.Messages, " ", f.KeepDays))
		if f.Octets <= 0 {
			t.Errorf("%+v", f)
		}
	}
	if want := []string{"acme 2026-07-01 3 30", "acme 2026-07-02 1 30", "beta 2026-07-01 1 30"}; !slices.Equal(names, want) {
		t.Errorf("files %q, want %q", names, want)
	}
	// Content that is not what the message says is refused, not kept.
	short := newArchived(Day0, "acme", []byte("short"), "ann@example.net")
	short.m.Size++
	if err := a.PutArchived(t.Context(), "acme", 30, []store.ArchiveItem{short.item()}); err == nil {
		t.Error("content that ends early was archived")
	}
	_, err = a.Archived(t.Context(), "acme", short.m.ID)
	wantErr(t, err, store.ErrNotFound)
}

// onDisk returns all that lies in a folder.
func onDisk(t *testing.T, dir string) []byte {
	t.Helper()
	var all []byte
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all = append(all, b...)
		return err
	}))
	return all
}

func testArchiveSealed(t *testing.T, open ArchiveOpener) {
	dir := t.TempDir()
	a := open(t, dir, ArchiveOptions{Key: archiveKey})
	x := newArchived(Day0, "acme", bytes.Repeat([]byte("SECRETCONTENT\r\n"), 100), "secretrecipient@example.net")
	putArchived(t, a, x)
	must(t, a.Close())
	raw := onDisk(t, dir)
	for _, word := range []string{"SECRETCONTENT", "SECRETSUBJECT", "secretrecipient", "shop.example"} {
		if bytes.Contains(raw, []byte(word)) {
			t.Errorf("%s stands in clear on the disk", word)
		}
	}
	other := func(string) [32]byte { return [32]byte{1} }
	a = freshArchive(t, open, dir, ArchiveOptions{Key: other})
	_, err := a.Archived(t.Context(), "acme", x.m.ID)
	wantErr(t, err, store.ErrArchiveKey)
	_, err = a.OpenArchived(t.Context(), "acme", x.m.ID)
	wantErr(t, err, store.ErrArchiveKey)
	y := newArchived(Day0, "acme", []byte("more"), "ann@example.net")
	wantErr(t, a.PutArchived(t.Context(), "acme", 30, []store.ArchiveItem{y.item()}), store.ErrArchiveKey)
}

func testArchiveFind(t *testing.T, open ArchiveOpener) {
	a := freshArchive(t, open, t.TempDir(), ArchiveOptions{})
	var list []archived
	for i := range 25 {
		to := []string{fmt.Sprintf("user%d@example.net", i%5), "all@example.net"}
		x := newArchived(Day0.Add(time.Duration(i)*6*time.Hour), "acme", []byte("content"), to...)
		if i%2 == 1 {
			x.m.From, x.m.HeaderFrom = mail.Address{Local: "ann", Domain: "other.example"}, "ann@other.example"
		}
		list = append(list, x)
	}
	putArchived(t, a, list...)
	putArchived(t, a, newArchived(Day0, "beta", []byte("content"), "all@example.net"))
	tests := map[string]struct {
		q    store.ArchiveQuery
		want func(i int) bool
	}{
		"all":               {store.ArchiveQuery{}, func(int) bool { return true }},
		"recipient":         {store.ArchiveQuery{Recipient: "USER3@example.NET"}, func(i int) bool { return i%5 == 3 }},
		"nobody":            {store.ArchiveQuery{Recipient: "nobody@example.net"}, func(int) bool { return false }},
		"sender":            {store.ArchiveQuery{Sender: "ann@other.example"}, func(i int) bool { return i%2 == 1 }},
		"sender domain":     {store.ArchiveQuery{Sender: "shop.example"}, func(i int) bool { return i%2 == 0 }},
		"time":              {store.ArchiveQuery{From: Day0.Add(12 * time.Hour), To: Day0.Add(36 * time.Hour)}, func(i int) bool { return i >= 2 && i < 6 }},
		"recipient and day": {store.ArchiveQuery{Recipient: "user0@example.net", From: Day0.Add(day)}, func(i int) bool { return i%5 == 0 && i >= 4 }},
	}
	for name, tt := range tests {
		var got, want []mail.MessageID
		for i := range list {
			if tt.want(i) {
				want = append(want, list[i].m.ID)
			}
		}
		tt.q.Account, tt.q.Max = "acme", 4
		for range 100 {
			page, err := a.FindArchived(t.Context(), tt.q)
			must(t, err)
			for _, m := range page.Messages {
				got = append(got, m.Message.ID)
			}
			if tt.q.Cursor = page.Next; page.Next == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: found %d messages, want %d: %v", name, len(got), len(want), got)
		}
	}
	_, err := a.FindArchived(t.Context(), store.ArchiveQuery{Account: "acme", Cursor: "?"})
	wantErr(t, err, store.ErrBadCursor)
	_, err = a.FindArchived(t.Context(), store.ArchiveQuery{})
	wantErr(t, err, store.ErrBadQuery)
}

func testArchiveErase(t *testing.T, open ArchiveOpener) {
	a := freshArchive(t, open, t.TempDir(), ArchiveOptions{})
	var alone, shared []archived
	for range 300 { // more than one batch
		alone = append(alone, newArchived(Day0, "acme", []byte("only for Ann"), "ann@example.net"))
	}
	for range 3 {
		shared = append(shared, newArchived(Day0, "acme", []byte("for two"), "ann@example.net", "bob@example.net"))
	}
	kept := newArchived(Day0, "acme", []byte("for Bob"), "bob@example.net")
	putArchived(t, a, append(append(alone, shared...), kept)...)
	e := store.ArchiveErasure{Address: "Ann@Example.net", Marker: "erased-1@erased.invalid"}
	done, err := a.EraseArchived(t.Context(), store.ArchiveName{Account: "acme", Day: "2026-07-01"}, e)
	must(t, err)
	if done != (store.ArchiveErased{Messages: 300, Recipients: 3}) {
		t.Errorf("%+v", done)
	}
	done, err = a.EraseArchived(t.Context(), store.ArchiveName{Account: "acme", Day: "2026-07-01"}, e)
	must(t, err)
	if done != (store.ArchiveErased{}) {
		t.Errorf("a second time: %+v", done)
	}
	_, err = a.Archived(t.Context(), "acme", alone[0].m.ID)
	wantErr(t, err, store.ErrNotFound)
	_, err = a.OpenArchived(t.Context(), "acme", alone[299].m.ID)
	wantErr(t, err, store.ErrNotFound)
	for i := range shared {
		shared[i].to[0].Address = e.Marker
		shared[i].same(t, a, "acme")
	}
	kept.same(t, a, "acme")
	page, err := a.FindArchived(t.Context(), store.ArchiveQuery{Account: "acme", Recipient: "ann@example.net"})
	must(t, err)
	if len(page.Messages) > 0 {
		t.Errorf("%d messages are still found by the address", len(page.Messages))
	}
	_, err = a.EraseArchived(t.Context(), store.ArchiveName{Account: "acme", Day: "2026-07-02"}, e)
	wantErr(t, err, store.ErrNotFound)
}

// testArchiveBackup copies an archive while it is written to, and by a second process too.
func testArchiveBackup(t *testing.T, open ArchiveOpener) {
	dir := t.TempDir()
	a := freshArchive(t, open, dir, ArchiveOptions{})
	kept := []archived{
		newArchived(Day0, "acme", []byte("the first day"), "ann@example.net"),
		newArchived(Day0.Add(day), "acme", []byte("the second day"), "ann@example.net"),
		newArchived(Day0, "beta", []byte("of another account"), "bob@example.net"),
	}
	putArchived(t, a, kept...)
	to := filepath.Join(t.TempDir(), "copy")
	second := freshArchive(t, open, dir, ArchiveOptions{Step: func(name string) error {
		if name == "in backup" {
			putArchived(t, a, newArchived(Day0, "acme", []byte("meanwhile"), "ann@example.net"))
		}
		return nil
	}})
	n, err := second.Backup(t.Context(), to)
	must(t, err)
	if n != 3 {
		t.Errorf("%d files were copied", n)
	}
	if _, err := second.Backup(t.Context(), to); err == nil {
		t.Error("a backup over a backup")
	}
	b := freshArchive(t, open, to, ArchiveOptions{})
	for _, x := range kept {
		x.same(t, b, x.m.Account)
	}
	other := open(t, dir, ArchiveOptions{Key: func(string) [32]byte { return [32]byte{1} }})
	t.Cleanup(func() { _ = other.Close() })
	_, err = other.Backup(t.Context(), filepath.Join(t.TempDir(), "copy"))
	wantErr(t, err, store.ErrArchiveKey)
}

func testArchiveDrop(t *testing.T, open ArchiveOpener) {
	dir := t.TempDir()
	a := freshArchive(t, open, dir, ArchiveOptions{})
	var list []archived
	for range 450 {
		list = append(list, newArchived(Day0, "acme", []byte("content"), "ann@example.net"))
	}
	other := newArchived(Day0.Add(day), "acme", []byte("content"), "ann@example.net")
	putArchived(t, a, append(list, other)...)
	must(t, a.DropArchiveFile(t.Context(), store.ArchiveName{Account: "acme", Day: "2026-07-01"}, []mail.MessageID{list[7].m.ID, list[449].m.ID}))
	list[7].same(t, a, "acme")
	list[449].same(t, a, "acme")
	files, err := a.ArchiveFiles(t.Context())
	must(t, err)
	if len(files) != 2 {
		t.Fatalf("%+v", files)
	}
	if f, err := a.ArchiveFile(t.Context(), files[0]); err != nil || f.Messages != 2 {
		t.Errorf("%+v, %v", f, err)
	}
	must(t, a.DropArchiveFile(t.Context(), store.ArchiveName{Account: "acme", Day: "2026-07-01"}, nil))
	_, err = a.Archived(t.Context(), "acme", list[7].m.ID)
	wantErr(t, err, store.ErrNotFound)
	wantErr(t, a.DropArchiveFile(t.Context(), store.ArchiveName{Account: "acme", Day: "2026-07-01"}, nil), store.ErrNotFound)
	other.same(t, a, "acme")
	must(t, a.DropArchiveFile(t.Context(), store.ArchiveName{Account: "acme", Day: "2026-07-02"}, nil))
	if left := onDisk(t, dir); len(left) > 0 {
		t.Errorf("%d octets are left of an archive that has expired", len(left))
	}
	putArchived(t, a, other) // and begins anew
	other.same(t, a, "acme")
}

// testArchiveCrash ends a write at every step: nothing of the batch is there then, or all of it, and making the call
// again completes it.
func testArchiveCrash(t *testing.T, open ArchiveOpener) {
	errDied := errors.New("died")
	for at := 1; ; at++ {
		dir, n := t.TempDir(), 0
		list := []archived{newArchived(Day0, "acme", noise(2<<20), "ann@example.net"), newArchived(Day0, "acme", []byte("second"), "bob@example.net")}
		items := []store.ArchiveItem{list[0].item(), list[1].item()}
		a := open(t, dir, ArchiveOptions{Key: archiveKey, Step: func(string) error {
			if n++; n == at {
				return errDied
			}
			return nil
		}})
		err := a.PutArchived(t.Context(), "acme", 30, items)
		must(t, a.Close())
		a = open(t, dir, ArchiveOptions{Key: archiveKey})
		if err == nil {
			list[0].same(t, a, "acme")
			list[1].same(t, a, "acme")
			must(t, a.Close())
			if at < 4 {
				t.Errorf("only %d steps", at)
			}
			return
		}
		wantErr(t, err, errDied)
		for _, x := range list {
			_, err := a.Archived(t.Context(), "acme", x.m.ID)
			wantErr(t, err, store.ErrNotFound)
		}
		must(t, a.PutArchived(t.Context(), "acme", 30, items))
		list[0].same(t, a, "acme")
		list[1].same(t, a, "acme")
		must(t, a.Close())
	}
}

func testArchiveFloor(t *testing.T, open ArchiveOpener) {
	full := true
	a := open(t, t.TempDir(), ArchiveOptions{Key: archiveKey, MayGrow: func() error {
		if full {
			return errors.New("no room")
		}
		return nil
	}})
	x := newArchived(Day0, "acme", []byte("content"), "ann@example.net")
	wantErr(t, a.PutArchived(t.Context(), "acme", 30, []store.ArchiveItem{x.item()}), store.ErrUnavailable)
	full = false
	putArchived(t, a, x)
	x.same(t, a, "acme")
	must(t, a.Close())
	_, err := a.Archived(t.Context(), "acme", x.m.ID)
	wantErr(t, err, store.ErrUnavailable)
	must(t, a.Close())
}
