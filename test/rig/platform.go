package rig

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/postroad/postroad/internal/client"
	"github.com/postroad/postroad/internal/config"
)

// Options say which program is run, where, and how it is configured.
type Options struct {
	Binary string // of postroad
	Dir    string // for configuration, log and data; it stays
	// Config is what postroad.toml says, but for Data and the listeners: those are chosen here.
	Config config.Config
	Env    []string // of the process, besides ours: "NAME=value"
}

// Platform is one `postroad serve`, running or not.
type Platform struct {
	binary, dir                  string
	env                          []string
	SMTP, SMTPS, API, ReturnPath string // host:port of the listeners; they stay the same over restarts

	cmd    *exec.Cmd
	log    *os.File
	exited chan struct{}
	err    error // of the process, once exited is closed
	client *client.Client
}

// startTimeout bounds how long a platform may take until it is ready.
const startTimeout = 3 * time.Minute

// New chooses ports and writes the configuration; nothing runs yet.
func New(o Options) (*Platform, error) {
	p := &Platform{binary: o.Binary, dir: o.Dir, env: o.Env}
	for _, a := range []*string{&p.SMTP, &p.SMTPS, &p.API, &p.ReturnPath} {
		var err error
		if *a, err = FreeAddr(); err != nil {
			return nil, err
		}
	}
	c := o.Config
	c.Data = p.Data()
	c.Submission.Listen, c.Submission.ListenTLS, c.HTTP.Listen = []string{p.SMTP}, []string{p.SMTPS}, []string{p.API}
	c.ReturnPath.Listen = []string{p.ReturnPath}
	b, err := toml.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("rig: write configuration: %w", err)
	}
	if err := os.WriteFile(p.configFile(), b, 0o600); err != nil {
		return nil, fmt.Errorf("rig: write configuration: %w", err)
	}
	p.client, err = client.New(client.Options{Socket: p.socket()})
	return p, err
}

// Ports are chosen below those that systems give to outgoing connections: between the choice and the listening one of those
// could take it.
const (
	firstPort = 10_000
	lastPort  = 32_000
)

// given are the ports that were chosen in this process: nobody listens on them at once, and none may be chosen twice.
var given struct {
	sync.Mutex
	ports map[int]bool
}

// FreeAddr returns a loopback address with a port nobody listens on, another one each time.
func FreeAddr() (string, error) {
	given.Lock()
	defer given.Unlock()
	if given.ports == nil {
		given.ports = map[int]bool{}
	}
	var err error
	for range 1000 {
		port := firstPort + rand.N(lastPort-firstPort)
		if given.ports[port] {
			continue
		}
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err != nil {
			continue
		}
		given.ports[port] = true
		return l.Addr().String(), l.Close()
	}
	return "", fmt.Errorf("rig: find a free port: %w", err)
}

// Data is the data folder.
func (p *Platform) Data() string { return filepath.Join(p.dir, "data") }

func (p *Platform) configFile() string { return filepath.Join(p.dir, "postroad.toml") }

func (p *Platform) socket() string { return filepath.Join(p.Data(), "admin.sock") }

// LogFile is where the platform's log goes, of all its runs.
func (p *Platform) LogFile() string { return filepath.Join(p.dir, "postroad.log") }

// Client speaks to the platform as its operator.
func (p *Platform) Client() *client.Client { return p.client }

// PID is the process that runs.
func (p *Platform) PID() int { return p.cmd.Process.Pid }

// Start starts the process and returns when it takes mail in.
func (p *Platform) Start(ctx context.Context) (err error) {
	p.log, err = os.OpenFile(p.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("rig: open log: %w", err)
	}
	p.cmd = exec.Command(p.binary, "serve", "--config", p.configFile())
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env = p.log, p.log, append(os.Environ(), p.env...)
	// It must not outlive us, and must not get the Ctrl-C that is meant for us.
	p.cmd.SysProcAttr = procAttr()
	if err := p.cmd.Start(); err != nil {
		p.log.Close()
		return fmt.Errorf("rig: start %s: %w", p.binary, err)
	}
	exited := make(chan struct{})
	p.exited = exited
	go func() {
		p.err = p.cmd.Wait()
		p.log.Close()
		close(exited)
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := Poll(ctx, 10*time.Millisecond, func() bool { return p.Ready(ctx) || p.over() }); err != nil {
		return fmt.Errorf("rig: postroad is not ready after %v: %w\n%s", startTimeout, err, p.LogTail())
	}
	if p.over() {
		return fmt.Errorf("rig: postroad ended at its start: %w\n%s", p.err, p.LogTail())
	}
	return nil
}

func (p *Platform) over() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// Ready reports whether /readyz says so.
func (p *Platform) Ready(ctx context.Context) bool {
	return p.client.Do(ctx, http.MethodGet, "/readyz", nil, nil, nil) == nil
}

// Running reports whether the process runs.
func (p *Platform) Running() bool { return p.exited != nil && !p.over() }

// Kill ends the process without giving it a chance (SIGKILL).
func (p *Platform) Kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("rig: kill: %w", err)
	}
	<-p.exited
	return nil
}

// Stop asks the process to end (SIGTERM) and waits for it. An exit status other than 0 is an error.
func (p *Platform) Stop(ctx context.Context) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("rig: stop: %w", err)
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		return fmt.Errorf("rig: postroad did not stop: %w\n%s", errors.Join(ctx.Err(), p.Kill()), p.LogTail())
	}
	if p.err != nil {
		return fmt.Errorf("rig: postroad stopped badly: %w\n%s", p.err, p.LogTail())
	}
	return nil
}

// Close ends the process if it runs, whatever it is doing.
func (p *Platform) Close() {
	if p.Running() {
		_ = p.Kill() // it has ended by itself if this fails
	}
}

// LogTail returns the end of the log.
func (p *Platform) LogTail() string {
	const most = 4 << 10
	b, err := os.ReadFile(p.LogFile())
	if err != nil {
		return err.Error()
	}
	if len(b) > most {
		b = b[len(b)-most:]
	}
	return strings.TrimSpace(string(b))
}

// Poll calls done every interval until it returns true, or returns ctx's error.
func Poll(ctx context.Context, interval time.Duration, done func() bool) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}
