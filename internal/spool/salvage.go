package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postroad/postroad/internal/mail"
)

// SalvageOptions of Salvage. The zero value is of use.
type SalvageOptions struct {
	// FS is where both spools lie; nil: the operating system's file system.
	FS vfs.FS
	// Recorded are the numbers of the last events the record holds, by spool. New events get higher ones: a damaged log, or an
	// older copy of the spool, lacks events the record knows, and their numbers must not be given to others.
	Recorded map[mail.SpoolID]uint64
}

// Salvage copies all readable records of the spool in from to a new spool in to, also when Open refuses from, and
// never writes to from. What had to be left is named in the report's Problems. The new spool has the old one's id, so
// the two must not both be used. A damaged log may bring back deliveries that were settled: mail sent twice rather
// than lost. The new spool can be opened once Salvage has returned nil; what an interrupted one left is made anew.
func Salvage(ctx context.Context, from, to string, o SalvageOptions) (report Report, err error) {
	fs := o.FS
	if fs == nil {
		fs = vfs.Default
	}
	if err := isSpool(fs, from); err != nil {
		return Report{}, err
	}
	if _, err := fs.Stat(fs.PathJoin(to, dbDir)); err == nil {
		return Report{}, fmt.Errorf("spool: there is a spool in %s already; name a new folder", to)
	}
	lock, err := takeLock(fs, from)
	if err != nil {
		return Report{}, err
	}
	defer lock.Close()
	v := &salvage{fs: fs, from: from, to: to, recorded: o.Recorded, log: &pebbleLog{log: withDefaults(Options{}).Logger}}
	defer func() {
		v.close()
		report = v.report
	}()
	if err := v.openSource(ctx); err != nil {
		return v.report, err
	}
	if err := v.openTarget(); err != nil {
		return v.report, err
	}
	if err := v.copy(ctx); err != nil {
		return v.report, err
	}
	return v.report, v.finish()
}

// isSpool returns an error that says why dir is no spool, or nil.
func isSpool(fs vfs.FS, dir string) error {
	_, err := fs.Stat(fs.PathJoin(dir, dbDir))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("spool: there is no spool in %s: %w", dir, err)
	default:
		return fmt.Errorf("spool: %s cannot be read: %w", dir, err)
	}
}

// salvage is one run of Salvage.
type salvage struct {
	fs       vfs.FS
	from, to string
	recorded map[mail.SpoolID]uint64
	log      *pebbleLog
	report   Report

	src     *pebble.DB
	scratch string // folder of a patched copy of the source, removed at the end
	dst     *pebble.DB
	batch   *pebble.Batch
	st      state
	wedged  *pebble.DB              // a write to it failed, and it holds its locks for ever
	events  int                     // copied
	whole   map[mail.MessageID]bool // messages looked at: can they be sent?
	live    map[mail.MessageID]bool // messages with a delivery that was copied
}

// scratchDir lies in the new spool's folder.
const scratchDir = "salvage"

// openSource opens the old records for reading: as they are, or without the damaged logs and with what could be read
// of them applied on top.
func (v *salvage) openSource(ctx context.Context) error {
	dir := v.fs.PathJoin(v.from, dbDir)
	po := pebbleOptions(v.fs, DefaultMemTable, DefaultBlockCache, v.log)
	po.ReadOnly, po.ErrorIfNotExists = true, true
	db, err := openPebble(dir, po, v.log)
	if err == nil {
		v.src = db
		return nil
	}
	var damage *DamageError
	if !errors.As(err, &damage) {
		return err
	}
	v.report.problem("%v", damage)
	v.scratch = v.fs.PathJoin(v.to, scratchDir)
	if err := v.fs.RemoveAll(v.scratch); err != nil && !errors.Is(err, os.ErrNotExist) { // of a run that was interrupted
		return fmt.Errorf("spool: salvage: %w", err)
	}
	if err := v.fs.MkdirAll(v.scratch, 0o700); err != nil {
		return fmt.Errorf("spool: salvage: %w", err)
	}
	names, err := v.fs.List(dir)
	if err != nil {
		return fmt.Errorf("spool: salvage: %w", err)
	}
	slices.Sort(names)
	var logs []string
	for _, name := range names {
		path := v.fs.PathJoin(dir, name)
		switch {
		case name == "LOCK":
		case strings.HasSuffix(name, ".log"):
			logs = append(logs, path)
		default:
			if err := copyFile(v.fs, path, v.fs.PathJoin(v.scratch, name)); err != nil {
				return fmt.Errorf("spool: salvage: %w", err)
			}
		}
	}
	po = pebbleOptions(v.fs, DefaultMemTable, DefaultBlockCache, v.log)
	po.DisableAutomaticCompactions = true
	if v.src, err = openPebble(v.scratch, po, v.log); err != nil {
		return fmt.Errorf("spool: salvage: not only the log is damaged: %w", err)
	}
	for _, path := range logs {
		if err := v.replay(ctx, path); err != nil {
			return err
		}
	}
	return nil
}

// replay applies what can be read of a log.
func (v *salvage) replay(ctx context.Context, path string) error {
	base := v.fs.PathBase(path)
	number, err := strconv.ParseUint(strings.TrimSuffix(base, ".log"), 10, 32)
	if err != nil {
		v.report.problem("%s has a strange name and was not read", path)
		return nil
	}
	n := 0
	damaged, err := readLog(v.fs, path, uint32(number), func(repr []byte) error {
		b := v.src.NewBatch()
		defer b.Close()
		if err := b.SetRepr(bytes.Clone(repr)); err != nil {
			v.report.problem("%s: a batch cannot be read: %v", path, err)
			return nil
		}
		n++
		if err := v.commit(v.src, b, pebble.NoSync); err != nil {
			return err
		}
		return ctx.Err()
	})
	if err != nil {
		return fmt.Errorf("spool: salvage %s: %w", path, err)
	}
	if damaged > 0 {
		v.report.problem("%s: %d frames were read, and %d damaged places left out", path, n, damaged)
	}
	return nil
}

// openTarget begins the new spool. Its database gets its name at the end: until then it is none.
func (v *salvage) openTarget() error {
	if err := v.fs.RemoveAll(v.fs.PathJoin(v.to, newDir)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("spool: salvage: %w", err)
	}
	for _, d := range []string{newDir, contentDir, quarantineDir} {
		if err := v.fs.MkdirAll(v.fs.PathJoin(v.to, d), 0o700); err != nil {
			return fmt.Errorf("spool: salvage: %w", err)
		}
	}
	po := pebbleOptions(v.fs, DefaultMemTable, DefaultBlockCache, v.log)
	po.ErrorIfExists = true
	var err error
	v.dst, err = openPebble(v.fs.PathJoin(v.to, newDir), po, v.log)
	if err != nil {
		return err
	}
	v.whole, v.live = make(map[mail.MessageID]bool), make(map[mail.MessageID]bool)
	return nil
}

// copy copies table by table. What follows from other records (locators, counters, lists) is made anew.
func (v *salvage) copy(ctx context.Context) error {
	v.batch = v.dst.NewBatch()
	if val, ok := v.get(keyState); !ok || v.st.decode(val) != nil {
		v.report.problem("the state record is lost; event numbers go on after the last event found")
		v.st = state{oldest: 1}
	}
	v.st.counts = Counts{}
	for _, t := range []struct {
		table byte
		fn    func(ctx context.Context, key, value []byte) error
	}{
		{tabStage, v.stage},
		{tabSchedule, v.delivery},
		{tabOwed, v.owed},
		{tabMessage, v.message},
		{tabOutbox, v.event},
		{tabInbox, v.inbox},
		{tabLane, v.lane},
		{tabIdem, v.idem},
		{tabQuarantine, v.aside},
	} {
		if err := v.table(ctx, t.table, t.fn); err != nil {
			return err
		}
	}
	return nil
}

// table calls fn for every record of a table that can be read. Behind a damaged block it looks for the next key that
// can be read, and goes on there.
func (v *salvage) table(ctx context.Context, table byte, fn func(ctx context.Context, key, value []byte) error) error {
	lower, upper := []byte{table}, []byte{table + 1}
	for {
		last := lower
		var failed error
		err := scan(ctx, v.src, lower, upper, func(err error) error { return err }, func(key, value []byte) (bool, error) {
			last = append(bytes.Clone(key), 0)
			if err := fn(ctx, bytes.Clone(key), bytes.Clone(value)); err != nil {
				failed = err
				return false, err
			}
			return true, v.flush(1 << 20)
		})
		if err == nil {
			return nil
		}
		if failed != nil || ctx.Err() != nil {
			return err
		}
		lower = v.beyond(last, upper)
		v.report.problem("records from %x to %x cannot be read: %v", last, lower, err)
		if bytes.Compare(lower, upper) >= 0 {
			return nil
		}
	}
}

// beyond finds the lowest key above a damaged place at which reading works again, by halving the distance. Keys are
// taken as numbers.
func (v *salvage) beyond(bad, upper []byte) []byte {
	const width = 64 // octets; longer keys differ earlier
	num := func(key []byte) *big.Int {
		b := make([]byte, width)
		copy(b, key)
		return new(big.Int).SetBytes(b)
	}
	lo, hi := num(bad), num(upper)
	for {
		mid := new(big.Int).Add(lo, hi)
		mid.Rsh(mid, 1)
		if mid.Cmp(lo) == 0 {
			break
		}
		key := mid.FillBytes(make([]byte, width))
		if v.readable(key, upper) {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi.FillBytes(make([]byte, width))
}

func (v *salvage) readable(key, upper []byte) bool {
	it, err := v.src.NewIter(&pebble.IterOptions{LowerBound: key, UpperBound: upper})
	if err != nil {
		return false
	}
	if it.First() {
		_, err = it.ValueAndErr()
	}
	if e := it.Error(); err == nil {
		err = e
	}
	if e := it.Close(); err == nil {
		err = e
	}
	return err == nil
}

func (v *salvage) get(key []byte) ([]byte, bool) {
	val, closer, err := v.src.Get(key)
	if err != nil {
		return nil, false
	}
	defer closer.Close()
	return bytes.Clone(val), true
}

func (v *salvage) set(key, value []byte) { _ = v.batch.Set(key, value, nil) }

// flush writes what was collected once it is more than limit octets.
func (v *salvage) flush(limit int) error {
	if v.batch.Len() < limit {
		return nil
	}
	err := v.commit(v.dst, v.batch, pebble.NoSync)
	if v.wedged != nil {
		return err
	}
	_ = v.batch.Close()
	v.batch = v.dst.NewBatch()
	return err
}

// commit writes a batch. Pebble panics where its log cannot be written, as on a full disk.
func (v *salvage) commit(db *pebble.DB, b *pebble.Batch, o *pebble.WriteOptions) error {
	err := v.guard(db, func() error { return b.Commit(o) })
	if err != nil {
		return fmt.Errorf("spool: salvage: %s cannot be written: %w", v.to, err)
	}
	return nil
}

func (v *salvage) guard(db *pebble.DB, fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			v.wedged = db
			err = fmt.Errorf("%v", r)
		}
	}()
	return fn()
}

// stage keeps the stage of an accepted message, with its pending events; others were never accepted.
func (v *salvage) stage(ctx context.Context, key, value []byte) error {
	if len(key) != 1+idLen {
		return nil
	}
	id := mail.MessageID(key[1:])
	if _, ok := v.get(idKey(nil, tabMessage, id)); !ok {
		return nil
	}
	v.set(key, value)
	prefix := idKey(nil, tabPending, id)
	return scan(ctx, v.src, prefix, afterKey(prefix), func(err error) error { return err }, func(key, value []byte) (bool, error) {
		if _, err := decodeEvent(mail.EventID{}, value); err != nil {
			v.report.problem("a pending event of message %s cannot be decoded", id)
			return true, nil
		}
		v.set(key, value)
		return true, v.flush(1 << 20)
	})
}

func (v *salvage) delivery(ctx context.Context, key, value []byte) error {
	q, due, id, ok := cutSchedule(key)
	if !ok {
		v.report.problem("schedule key %x cannot be decoded", key)
		return nil
	}
	d, err := decodeDelivery(q, due, id, value)
	if err != nil {
		v.report.problem("delivery %s of queue %s cannot be decoded", id, q)
		return nil
	}
	if _, ok := v.readLocator(id); ok {
		v.report.problem("delivery %s had two schedule keys; the first was kept", id)
		return nil
	}
	sendable, err := v.sendable(ctx, d.Message)
	if err != nil {
		return err
	}
	if !sendable {
		v.report.problem("delivery %s to %s: its message %s or the content of it is lost", id, d.Recipient, d.Message)
		return nil
	}
	v.live[d.Message] = true
	loc := locator{flags: value[1], due: due, attempts: d.Attempts, queue: appendQueue(nil, q)}
	v.set(key, value)
	v.set(idKey(nil, tabDelivery, id), loc.append(nil))
	if loc.flags&flagMarked != 0 {
		v.set(idKey(nil, tabMark, id), nil)
	}
	if loc.flags&flagSolo == 0 {
		v.set(memberKey(nil, d.Message, id), nil)
		_ = v.batch.Merge(idKey(nil, tabLeft, d.Message), appendCounter(nil, 1), nil)
	}
	v.st.counts.count(loc.flags, 1)
	// A second key of the same delivery must find this locator.
	return v.flush(1)
}

func (v *salvage) readLocator(id mail.DeliveryID) (loc locator, ok bool) {
	val, closer, err := v.dst.Get(idKey(nil, tabDelivery, id))
	if err != nil {
		return loc, false
	}
	defer closer.Close()
	return loc, loc.decode(val) == nil
}

// sendable reports whether a message and its content could be copied, which it does the first time it is asked.
func (v *salvage) sendable(ctx context.Context, id mail.MessageID) (bool, error) {
	if ok, seen := v.whole[id]; seen {
		return ok, nil
	}
	key := idKey(nil, tabMessage, id)
	val, ok := v.get(key)
	if !ok {
		v.whole[id] = false
		return false, nil
	}
	m, err := decodeMessageRecord(id, val)
	if err != nil {
		v.whole[id] = false
		return false, nil
	}
	if m.Content.External {
		if err := v.copyContent(ctx, m); err != nil {
			if ctx.Err() != nil {
				return false, err
			}
			v.report.problem("message %s: %v", id, err)
			v.whole[id] = false
			return false, nil
		}
	} else {
		body, ok := v.get(idKey(nil, tabContent, id))
		if !ok || int64(len(body)) != m.Size {
			v.whole[id] = false
			return false, nil
		}
		v.set(idKey(nil, tabContent, id), body)
	}
	v.set(key, val)
	v.whole[id] = true
	v.st.counts.Messages++
	return true, nil
}

func (v *salvage) copyContent(_ context.Context, m *messageRecord) error {
	name := m.ID.String() + contentSuffix
	from, to := v.fs.PathJoin(v.from, contentDir, name), v.fs.PathJoin(v.to, contentDir, name)
	r, err := (&fileBody{fs: v.fs, path: from, size: m.Size, sum: m.checksum}).Open()
	if err != nil {
		return err
	}
	defer r.Close()
	return writeFrom(v.fs, to, r)
}

// owed keeps what must still be archived, also where no delivery is left.
func (v *salvage) owed(ctx context.Context, key, _ []byte) error {
	if len(key) != 1+idLen {
		return nil
	}
	id := mail.MessageID(key[1:])
	whole, err := v.sendable(ctx, id)
	if err != nil {
		return err
	}
	if !whole {
		v.report.problem("message %s was to be archived; it or its content is lost", id)
		return nil
	}
	var bits byte
	if !v.live[id] {
		bits |= owedOver
	}
	if val, ok := v.get(idKey(nil, tabMessage, id)); ok {
		if m, err := decodeMessageRecord(id, val); err == nil && m.Content.External {
			bits |= owedExternal
		}
	}
	v.set(key, owedValue(bits))
	return v.flush(1 << 20)
}

// message names messages none of whose deliveries could be copied.
func (v *salvage) message(_ context.Context, key, _ []byte) error {
	if len(key) != 1+idLen {
		return nil
	}
	if _, seen := v.whole[mail.MessageID(key[1:])]; !seen {
		v.report.problem("message %s has no readable delivery", mail.MessageID(key[1:]))
	}
	return nil
}

func (v *salvage) event(_ context.Context, key, value []byte) error {
	if len(key) != 1+8 {
		return nil
	}
	seq := binary.BigEndian.Uint64(key[1:])
	if _, err := decodeEvent(mail.EventID{}, value); err != nil {
		v.report.problem("event %d cannot be decoded", seq)
		return nil
	}
	v.set(key, value)
	v.events++
	v.st.event = max(v.st.event, seq)
	return nil
}

func (v *salvage) inbox(_ context.Context, key, value []byte) error {
	if len(key) != 1+8 {
		return nil
	}
	seq := binary.BigEndian.Uint64(key[1:])
	if _, err := decodeInbox(seq, value); err != nil {
		v.report.problem("inbox entry %d cannot be decoded", seq)
		return nil
	}
	v.set(key, value)
	v.st.inbox = max(v.st.inbox, seq)
	v.st.counts.Inbox++
	return nil
}

func (v *salvage) lane(_ context.Context, key, value []byte) error {
	if _, err := decodeLane(string(key[1:]), value); err != nil {
		v.report.problem("lane %s cannot be decoded", key[1:])
		return nil
	}
	v.set(key, value)
	v.report.Counts.Lanes++
	return nil
}

func (v *salvage) idem(_ context.Context, key, value []byte) error {
	if _, err := decodeIdem("", [32]byte{}, value); err != nil || len(key) < 1+4+32 {
		v.report.problem("idempotency record %x cannot be decoded", key)
		return nil
	}
	v.set(key, value)
	return nil
}

func (v *salvage) aside(_ context.Context, key, value []byte) error {
	v.set(key, value)
	v.st.counts.Quarantined++
	return nil
}

// identity finds the spool's id.
func (v *salvage) identity() (mail.SpoolID, error) {
	if id, err := readUint32(v.src, keyID); err == nil {
		return mail.SpoolID(id), nil
	}
	if v.st.id != 0 {
		v.report.problem("the record of the spool's id is lost; the state record has it too")
		return v.st.id, nil
	}
	return 0, errors.New("spool: salvage: the spool's id is lost")
}

// finish writes identity and state, syncs, gives the spool its name, and fills in the report.
func (v *salvage) finish() error {
	id, err := v.identity()
	if err != nil {
		return err
	}
	v.st.id = id
	if upTo := v.recorded[id]; upTo > v.st.event {
		v.report.problem("the record knows of events up to %d, this spool of none after %d: what it settled after that is in it again and will be sent again", upTo, v.st.event)
		v.st.event = upTo
		if v.events == 0 {
			v.st.oldest = upTo + 1
		}
	}
	setIdentity(v.batch, &v.st)
	if err := v.commit(v.dst, v.batch, pebble.Sync); err != nil {
		return err
	}
	_ = v.batch.Close()
	v.batch = nil
	dst := v.dst
	v.dst = nil
	if err := v.guard(dst, dst.Close); err != nil {
		return fmt.Errorf("spool: salvage: %s cannot be written: %w", v.to, err)
	}
	for _, d := range []string{newDir, contentDir} {
		if err := syncPath(v.fs, v.fs.PathJoin(v.to, d)); err != nil {
			return err
		}
	}
	if err := v.fs.Rename(v.fs.PathJoin(v.to, newDir), v.fs.PathJoin(v.to, dbDir)); err != nil {
		return fmt.Errorf("spool: salvage: %w", err)
	}
	if err := syncPath(v.fs, v.to); err != nil {
		return err
	}
	if err := syncPath(v.fs, v.fs.PathDir(v.to)); err != nil && !errors.Is(err, os.ErrPermission) {
		return err
	}
	lanes := v.report.Counts.Lanes
	v.report.Counts = v.st.snapshot(int(lanes))
	return nil
}

func (v *salvage) close() {
	if v.batch != nil && v.wedged == nil {
		_ = v.batch.Close()
	}
	for _, db := range []*pebble.DB{v.src, v.dst} {
		if db != nil && db != v.wedged { // else closing would wait for ever; the process is about to end
			if err := db.Close(); err != nil {
				v.report.problem("close: %v", err)
			}
		}
	}
	if v.scratch != "" {
		if err := v.fs.RemoveAll(v.scratch); err != nil && !errors.Is(err, os.ErrNotExist) {
			v.report.problem("the scratch folder stays: %v", err)
		}
	}
}

func copyFile(fs vfs.FS, from, to string) error {
	f, err := fs.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	return writeFrom(fs, to, f)
}

// writeFrom writes a file and syncs it.
func writeFrom(fs vfs.FS, to string, r io.Reader) error {
	w, err := fs.Create(to, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	if err == nil {
		err = w.Sync()
	}
	if e := w.Close(); err == nil {
		err = e
	}
	return err
}
