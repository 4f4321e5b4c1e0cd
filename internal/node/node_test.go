package node

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/spool"
)

// A stop in the middle of the work, with clients still handing mail in, loses nothing that was answered with 202, and
// sends nothing twice.
func TestStopUnderLoadLosesNothing(t *testing.T) {
	internet := testInternet(t)
	c := testConfig(t, internet)
	accepted := map[string]bool{}
	for round := range 3 {
		r := start(t, c, testAccounts+testRoute)
		var mu sync.Mutex
		var clients sync.WaitGroup
		enough, taken := make(chan struct{}), 0
		for client := range 4 {
			clients.Go(func() {
				for i := 0; ; i++ {
					to := fmt.Sprintf("r%d.c%d.n%d@mailbox.test", round, client, i)
					status, _ := r.request(testKey, http.MethodPost, "/v1/messages", message(to))
					mu.Lock()
					if status == http.StatusAccepted {
						accepted[to] = true
						if taken++; taken == 60 {
							close(enough)
						}
					}
					mu.Unlock()
					select {
					case <-enough:
						if status != http.StatusAccepted {
							return // it is stopping
						}
					default: // busy, perhaps: the next one
					}
				}
			})
		}
		<-enough
		r.stop()
		clients.Wait()
		if lag := r.projector.Status().Lag; lag != 0 {
			t.Errorf("round %d: after the stop %d events are not recorded", round, lag)
		}
	}
	r := start(t, c, "")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := internet.Wait(ctx, func() bool { return internet.Counters().Recipients >= int64(len(accepted)) }); err != nil {
		t.Errorf("%d of %d messages arrived: %v", internet.Counters().Recipients, len(accepted), err)
	}
	r.await("/v1/queues/deliveries", func(b []byte) bool { return strings.Contains(string(b), `"deliveries":[]`) })
	got := map[string]int{}
	for _, m := range internet.All() {
		got[m.Recipient]++
	}
	for to := range accepted {
		if got[to] != 1 {
			t.Errorf("%s was accepted and arrived %d times", to, got[to])
		}
	}
	if n := internet.Counters().Duplicates; n != 0 || len(got) != len(accepted) {
		t.Errorf("%d duplicates; %d recipients have mail, %d were accepted", n, len(got), len(accepted))
	}
}

// Mail that waits when the platform stops waits when it starts again, and goes out once there is a way.
func TestRestartWithMailWaiting(t *testing.T) {
	internet := testInternet(t)
	c := testConfig(t, internet)
	r := start(t, c, testAccounts)
	var ids []string
	for i := range 20 {
		ids = append(ids, r.send(fmt.Sprintf("waits%d@mailbox.test", i)))
	}
	r.stop()
	if n := internet.Counters().Recipients; n != 0 {
		t.Fatalf("%d went out without a route", n)
	}
	r = start(t, c, "")
	if n := r.spool.Counts().Deliveries; n != 20 {
		t.Errorf("%d deliveries wait after the restart, want 20", n)
	}
	for _, id := range ids { // the record is there too
		r.await("/v1/messages/"+id, func(b []byte) bool { return strings.Contains(string(b), `"queued"`) })
	}
	r.apply(testRoute)
	for _, id := range ids {
		r.await("/v1/messages/"+id, func(b []byte) bool { return strings.Contains(string(b), `"state":"delivered"`) })
	}
	if n := internet.Counters(); n.Recipients != 20 || n.Duplicates != 0 {
		t.Errorf("%+v", n)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	c := testConfig(t, nil)
	r := start(t, c, "")
	_, err := Open(t.Context(), Options{Config: c})
	if !errors.Is(err, spool.ErrLocked) || !strings.Contains(err.Error(), c.Data) {
		t.Errorf("second Open = %v, want that %s is in use", err, c.Data)
	}
	if status, _ := r.request(testAdmin, http.MethodGet, "/healthz", ""); status != 200 {
		t.Errorf("the first does not answer any more: %d", status)
	}
	if _, err := os.Stat(filepath.Join(c.Data, AdminSocket)); err != nil {
		t.Errorf("the second took the first one's admin socket: %v", err)
	}
}

func TestMasterKey(t *testing.T) {
	c := testConfig(t, nil)
	start(t, c, testAccounts).stop()
	key := MasterKeyFile(c)
	info, err := os.Stat(key)
	if err != nil || info.Mode().Perm() != 0o600 || strings.HasPrefix(key, c.Data+"/") {
		t.Fatalf("master key %s: %v, %v", key, info, err)
	}
	kept, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), Options{Config: c})
	if err == nil || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "backup") {
		t.Errorf("without its master key: %v, want what is missing and what to do", err)
	}
	if _, err := os.Stat(key); err == nil {
		t.Error("a new master key was made for sealed data")
	}
	if err := os.WriteFile(key, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = Open(t.Context(), Options{Config: c}); err == nil || !strings.Contains(err.Error(), key) {
		t.Errorf("with a damaged master key: %v", err)
	}
	if err := os.WriteFile(key, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, c, "").stop()
}

// A start that fails half way leaves nothing open: the next one works.
func TestFailedStart(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	c := testConfig(t, nil)
	good := c
	for _, tt := range []struct {
		name   string
		change func()
		want   string
	}{
		{"http port in use", func() { c.HTTP.Listen = []string{busy.Addr().String()} }, busy.Addr().String()},
		{"submission port in use", func() { c.Submission.Listen = []string{busy.Addr().String()} }, busy.Addr().String()},
		{"return path port in use", func() { c.ReturnPath.Listen = []string{busy.Addr().String()} }, busy.Addr().String()},
		{"no certificate", func() { c.TLS.Certificate, c.TLS.Key = "/nowhere/cert.pem", "/nowhere/key.pem" }, "/nowhere/cert.pem"},
		{"hostname", func() { c.Hostname = "not a name" }, `"not a name"`},
		{"data folder is a file", func() { c.Data = os.Args[0] }, os.Args[0]},
	} {
		c = good
		tt.change()
		if _, err := Open(t.Context(), Options{Config: c}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error that names %s", tt.name, err, tt.want)
		}
	}
	start(t, good, "").stop()
}

func TestAdminSocket(t *testing.T) {
	c := testConfig(t, nil)
	r := start(t, c, testAccounts)
	path := filepath.Join(c.Data, AdminSocket)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("admin socket: %v, %v, want mode 0600", info, err)
	}
	if info, err = os.Stat(c.Data); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("data folder: %v, %v, want mode 0700", info, err)
	}
	local := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	defer local.CloseIdleConnections()
	resp, err := local.Get("http://admin/v1/accounts")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("without a key: %d", resp.StatusCode)
	}
	local.CloseIdleConnections()
	r.stop()
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket is left after a stop")
	}
	// What a crash left is no hindrance.
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, c, "").stop()
}

// A data folder whose path is too long for a socket has it elsewhere, in a folder nobody else can have made.
func TestAdminSocketOfALongPath(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	c := testConfig(t, nil)
	c.Data = filepath.Join(t.TempDir(), strings.Repeat("d", maxSocketPath))
	r := start(t, c, "")
	path := r.adminSocket()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || len(path) > maxSocketPath {
		t.Errorf("socket %s: %v, %v", path, info, err)
	}
	r.stop()
	if err := os.Chmod(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Config: c}); err == nil || !strings.Contains(err.Error(), filepath.Dir(path)) {
		t.Errorf("in a folder everybody may write: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	internet := testInternet(t)
	r := start(t, testConfig(t, internet), testAccounts+testRoute)
	id := r.send("someone@mailbox.test")
	r.await("/v1/messages/"+id, func(b []byte) bool { return strings.Contains(string(b), `"delivered"`) })
	_, b := r.request("", http.MethodGet, "/metrics", "")
	text := string(b)
	for _, want := range []string{
		"\npostroad_ready 1\n", `postroad_deliveries_total{result="delivered"} 1`, `postroad_spool_entries{kind="deliveries"} 0`,
		"postroad_build_info{", "postroad_disk_free_bytes ", "postroad_record_lag_events ", "go_goroutines ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, secret := range []string{"shop", "mailbox.test", "someone"} {
		if strings.Contains(text, secret) {
			t.Errorf("the figures name %s", secret)
		}
	}
	if status, _ := r.request("", http.MethodGet, "/readyz", ""); status != 200 {
		t.Errorf("readyz: %d", status)
	}
}

// A backup made while the platform works becomes a platform that knows its accounts, secrets, record and archive.
func TestBackupAndRestore(t *testing.T) {
	internet := testInternet(t)
	c := testConfig(t, internet)
	r := start(t, c, strings.Replace(testAccounts, `name = "shop"`, "name = \"shop\"\narchive = {days = 9}", 1)+testRoute)
	id := r.send("someone@mailbox.test")
	r.await("/v1/messages/"+id, func(b []byte) bool { return strings.Contains(string(b), `"delivered"`) })
	archived := func(r *running, id string) {
		t.Helper()
		r.await("/v1/archive/messages?account=shop", func(b []byte) bool { return strings.Contains(string(b), id) })
	}
	archived(r, id)
	to, key := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "key")
	info, err := Backup(t.Context(), c, to, BackupOptions{Key: key})
	if err != nil || info.Archived != 1 {
		t.Fatalf("%+v, %v", info, err)
	}
	bare := filepath.Join(t.TempDir(), "bare")
	if _, err := Backup(t.Context(), c, bare, BackupOptions{NoArchive: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := Backup(t.Context(), c, to, BackupOptions{}); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a second backup to the same place: %v", err)
	}
	if _, err := Restore(t.Context(), c, to, RestoreOptions{Key: key}); err == nil || !strings.Contains(err.Error(), "there already") {
		t.Errorf("a restore over a platform: %v", err)
	}
	if r.send("other@mailbox.test") == "" { // it works on
		t.Error("the platform does not take mail after a backup")
	}
	r.stop()

	fresh := testConfig(t, internet)
	for want, restore := range map[string]func() (Restored, error){
		"no backup": func() (Restored, error) { return Restore(t.Context(), fresh, t.TempDir(), RestoreOptions{}) },
		"say where": func() (Restored, error) { return Restore(t.Context(), fresh, to, RestoreOptions{}) },
		"not finished": func() (Restored, error) {
			half := filepath.Join(t.TempDir(), "half")
			if err := copyTree(to, half); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(half, backupInfo)); err != nil {
				t.Fatal(err)
			}
			return Restore(t.Context(), fresh, half, RestoreOptions{Key: key})
		},
		"another master key": func() (Restored, error) {
			other := fresh
			other.MasterKey = filepath.Join(t.TempDir(), "other")
			if _, _, err := manage.LoadMasterKey(other.MasterKey); err != nil {
				t.Fatal(err)
			}
			return Restore(t.Context(), other, to, RestoreOptions{Key: key})
		},
	} {
		if _, err := restore(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
		if _, err := os.Stat(fresh.Data); err == nil {
			t.Fatalf("%s: there is a data folder", want)
		}
	}
	// A restore that was killed left half a folder beside the place.
	if err := os.MkdirAll(filepath.Join(fresh.Data+".restoring", StoreDir), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), fresh, to, RestoreOptions{Key: key}); err != nil {
		t.Fatal(err)
	}
	r = start(t, fresh, "")
	r.await("/v1/messages/"+id, func(b []byte) bool { return strings.Contains(string(b), `"delivered"`) }) // before the backup
	archived(r, id)
	if status, b := r.request(testAdmin, http.MethodGet, "/v1/messages/"+id+"/content", ""); status != 200 || !strings.Contains(string(b), "someone@mailbox.test") {
		t.Errorf("what was sent cannot be read: %d, %s", status, b)
	}
	id = r.send("third@mailbox.test")
	r.await("/v1/messages/"+id, func(b []byte) bool { return strings.Contains(string(b), `"delivered"`) })
	r.stop()

	without := testConfig(t, internet)
	if info, err := Restore(t.Context(), without, bare, RestoreOptions{}); err != nil || info.Archive {
		t.Fatalf("%+v, %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(without.Data, ArchiveDir)); err == nil {
		t.Error("a backup without the archive has one")
	}
	if _, err := Backup(t.Context(), testConfig(t, nil), filepath.Join(t.TempDir(), "b"), BackupOptions{}); err == nil || !strings.Contains(err.Error(), "no platform") {
		t.Errorf("a backup of nothing: %v", err)
	}
}

// writeCertificate makes a certificate with a serial number to know it by.
func writeCertificate(t *testing.T, cert, key string, serial int64) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "mail.shop.test"}, DNSNames: []string{"mail.shop.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	kd, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: kd}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A certificate that was renewed is used by all listeners without a restart.
func TestCertificateIsReloaded(t *testing.T) {
	c := testConfig(t, nil)
	dir := t.TempDir()
	c.TLS.Certificate, c.TLS.Key, c.HTTP.TLS = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), true
	writeCertificate(t, c.TLS.Certificate, c.TLS.Key, 1)
	r := start(t, c, "")
	serial := func(listener string) int64 {
		conn, err := tls.Dial("tcp", r.Addrs(listener)[0].String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	for _, l := range []string{"http", "submissions"} {
		if n := serial(l); n != 1 {
			t.Errorf("%s shows certificate %d", l, n)
		}
	}
	writeCertificate(t, c.TLS.Certificate, c.TLS.Key, 2)
	for deadline := time.Now().Add(5 * time.Minute); ; {
		if serial("http") == 2 && serial("submissions") == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the new certificate is not used")
		}
	}
}

// A stop does not wait for a client that keeps its request open: it is told, and the platform goes.
func TestStopEndsOpenRequests(t *testing.T) {
	var said strings.Builder // a handler writes under its lock
	r := startLogging(t, testConfig(t, nil), testAccounts, slog.New(slog.NewTextHandler(&said, nil)))
	d := dial(t, r.Addrs("http")[0])
	if _, err := d.Write([]byte("POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + testKey +
		"\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if line, err := d.in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 200") {
		t.Fatalf("%q, %v", line, err) // it is being worked on
	}
	r.stop()
	if strings.Contains(said.String(), "http_drain_timeout") {
		t.Errorf("the stop waited for a client that says nothing:\n%s", &said)
	}
	if rest, _ := io.ReadAll(d.in); !strings.Contains(string(rest), "The platform is stopping") {
		t.Errorf("the client was told %q", rest)
	}
}

func TestAlertsReachTheStore(t *testing.T) {
	r := start(t, testConfig(t, nil), testAccounts)
	r.send("someone@mailbox.test") // there is no route for it
	b := r.await("/v1/alerts", func(b []byte) bool { return strings.Contains(string(b), `"kind"`) })
	if !strings.Contains(string(b), "route") {
		t.Errorf("%s", b)
	}
	r.apply(testRoute)
	r.await("/v1/alerts", func(b []byte) bool { return strings.Contains(string(b), `"items":[]`) })
}

func TestAddrs(t *testing.T) {
	r := start(t, testConfig(t, nil), "")
	var all []string
	for _, name := range []string{"http", "admin", "submission", "submissions"} {
		list := r.Addrs(name)
		if len(list) != 1 {
			t.Fatalf("%s: %v", name, list)
		}
		all = append(all, list[0].String())
	}
	slices.Sort(all)
	if len(slices.Compact(all)) != 4 {
		t.Errorf("%v", all)
	}
}

// A part that fails ends the platform, in order, with its error; what was accepted is there at the next start.
func TestAPartThatFails(t *testing.T) {
	c := testConfig(t, nil)
	r := start(t, c, testAccounts)
	id := r.send("someone@mailbox.test")
	i := slices.IndexFunc(r.listeners, func(l listener) bool { return l.name == "http" })
	if err := r.listeners[i].socket.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-r.ended; err == nil || !strings.Contains(err.Error(), "http listener") {
		t.Errorf("Run = %v, want what failed", err)
	}
	r.client.CloseIdleConnections()
	r.cancel()
	r.cancel = nil
	again := start(t, c, "")
	again.await("/v1/messages/"+id, func([]byte) bool { return true })
}

// Passwords are taken over TLS only, unless the configuration says otherwise for loopback; then a client can hand in
// mail at both ports.
func TestPasswordsNeedTLS(t *testing.T) {
	c := testConfig(t, nil)
	c.Submission.PlainAuthOnLoopback = false
	r := start(t, c, testAccounts)
	plain := "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00shop\x00"+testPassword)) + "\r\n"
	d := dial(t, r.Addrs("submission")[0])
	d.reply()
	if got := d.say("EHLO client.test\r\n"); strings.Contains(got, "AUTH") || !strings.Contains(got, "STARTTLS") {
		t.Errorf("in clear: %s", got)
	}
	if got := d.say(plain); strings.HasPrefix(got, "2") {
		t.Errorf("a password in clear: %s", got)
	}
	for _, listener := range []string{"submission", "submissions"} {
		d := dial(t, r.Addrs(listener)[0])
		if listener == "submission" {
			d.reply()
			d.say("EHLO client.test\r\n")
			if got := d.say("STARTTLS\r\n"); !strings.HasPrefix(got, "220") {
				t.Fatal(got)
			}
		}
		conn := tls.Client(d.Conn, &tls.Config{InsecureSkipVerify: true})
		s := &dialogue{t, conn, bufio.NewReader(conn)}
		if listener == "submissions" {
			s.reply()
		}
		for _, x := range []step{
			{"EHLO client.test\r\n", "250"}, {plain, "235"}, {mailOK, "250"}, {rcptOK, "250"}, {"DATA\r\n", "354"}, {headOK + "\r\nx\r\n.\r\n", "250 2.6.0 msg_"}, {"QUIT\r\n", "221"},
		} {
			if got := s.say(x.say); !strings.HasPrefix(got, x.reply) {
				t.Errorf("%s: %.30q: %q, want %s", listener, x.say, got, x.reply)
			}
		}
	}
	if n := r.spool.Counts().Messages; n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}
