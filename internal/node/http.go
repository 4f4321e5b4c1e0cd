package node

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtpd"
)

// Time limits of the HTTP listeners.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	drainTimeout  = 20 * time.Second
	maxHeader     = 64 << 10
	// maxSocketPath is the longest path a Unix socket can have on Linux and the BSDs.
	maxSocketPath = 100
)

// listener is one bound HTTP listener.
type listener struct {
	name   string
	socket net.Listener
	server *http.Server
}

func (l *listener) close() error {
	err := l.socket.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// adminSocket is the path of the admin socket: in the data folder, or where that path would be too long for a socket in
// a private folder below the system's temporary one.
func (n *Node) adminSocket() string {
	path := filepath.Join(n.cfg.Data, AdminSocket)
	if len(path) <= maxSocketPath {
		return path
	}
	sum := sha256.Sum256([]byte(n.cfg.Data))
	return filepath.Join(os.TempDir(), "postroad-"+hex.EncodeToString(sum[:8]), AdminSocket)
}

func (n *Node) openHTTP(certs *smtpd.Certificates) error {
	server := func(h http.Handler) *http.Server {
		return &http.Server{
			Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
			ErrorLog: slog.NewLogLogger(n.log.With("component", "http").Handler(), slog.LevelDebug),
		}
	}
	for _, addr := range n.cfg.HTTP.Listen {
		socket, err := net.Listen("tcp", addr)
		if err != nil {
			return fmt.Errorf("node: http listener: %w", err)
		}
		if n.cfg.HTTP.TLS {
			cfg := certs.TLSConfig()
			cfg.NextProtos = []string{"h2", "http/1.1"}
			socket = tls.NewListener(socket, cfg)
		}
		n.listeners = append(n.listeners, listener{"http", socket, server(n.api.Handler())})
	}
	path := n.adminSocket()
	if err := privateFolder(filepath.Dir(path), n.cfg.Data); err != nil {
		return fmt.Errorf("node: admin socket: %w", err)
	}
	// The spool's lock says that no other process serves this data folder: what lies there is left from a crash.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("node: admin socket: %w", err)
	}
	socket, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("node: admin socket: %w", err)
	}
	n.listeners = append(n.listeners, listener{"admin", socket, server(n.api.LocalHandler())})
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("node: admin socket: %w", err)
	}
	return nil
}

// privateFolder makes the folder of the admin socket. One outside the data folder lies where everybody may write: it
// must be ours alone, or whoever made it first could put a socket of his own there.
func privateFolder(dir, data string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if dir == data {
		return nil
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() || info.Mode().Perm() != 0o700 || !ownedByUs(info) {
		return fmt.Errorf("%s is not a folder of ours alone; remove it", dir)
	}
	return nil
}

// serve answers requests until ctx ends, then finishes those in hand.
func (l *listener) serve(ctx context.Context, log *slog.Logger) error {
	failed := make(chan error, 1)
	go func() { failed <- l.server.Serve(l.socket) }()
	select {
	case err := <-failed:
		return fmt.Errorf("node: %s listener: %w", l.name, err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := l.server.Shutdown(drain); err != nil {
		log.Warn("requests were cut off by the stop", mail.LogEvent, "http_drain_timeout", mail.LogErr, err)
		_ = l.server.Close()
	}
	<-failed
	return nil
}

// Addrs tells where the node listens, by listener: "http", "admin", "submission", "submissions".
func (n *Node) Addrs(name string) []net.Addr {
	var list []net.Addr
	for _, l := range n.listeners {
		if l.name == name {
			list = append(list, l.socket.Addr())
		}
	}
	return append(list, n.smtp.Addrs(name)...)
}
