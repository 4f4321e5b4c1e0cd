package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/mattn/go-isatty"
	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"github.com/postroad/postroad/internal/config"
	"github.com/postroad/postroad/internal/node"
	"github.com/postroad/postroad/internal/platform"
)

func newServeCmd() *cobra.Command {
	var file, data string
	var gap bool
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the platform", GroupID: "run", Args: cobra.NoArgs,
		Long: `Runs the platform until it gets SIGINT or SIGTERM, then finishes the dialogues in hand and stops.
SIGHUP reads the folder of bounce rules (bounce.rules) again.

Without --config it listens on loopback: submission on 2587 (STARTTLS) and 2465 (TLS), the API on 2080,
and keeps its data in ./postroad-data. What mail may come in and where it goes is platform state:
see "postroad apply".`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(file, data)
			if err != nil {
				return err
			}
			return withRepair(serve(cmd, c, gap))
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", os.Getenv("POSTROAD_CONFIG"), "configuration file (POSTROAD_CONFIG)")
	cmd.Flags().StringVar(&data, "data", os.Getenv("POSTROAD_DATA"), "data folder; overrides the configuration (POSTROAD_DATA)")
	cmd.Flags().BoolVar(&gap, "accept-record-gap", false, "go on after a restored backup although events are missing in the record")
	return cmd
}

func loadConfig(file, data string) (c config.Config, err error) {
	c = config.Default()
	if file != "" {
		if c, err = config.Load(file); err != nil {
			return c, err
		}
	}
	if data != "" {
		c.Data = data
	}
	return c, nil
}

func serve(cmd *cobra.Command, c config.Config, gap bool) error {
	log := newLogger(c.Log, cmd.ErrOrStderr())
	n, err := node.Open(cmd.Context(), node.Options{Config: c, Logger: log, RecordGap: gap})
	if err != nil {
		return err
	}
	greet(cmd.ErrOrStderr(), n)
	if err := notify("READY=1"); err != nil {
		log.Warn("systemd was not told that we are ready", "event", "notify_failed", "err", err)
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	ended := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-hangups:
				n.ReloadRules()
			case <-ended:
				return
			}
		}
	})
	err = n.Run(cmd.Context())
	signal.Stop(hangups)
	close(ended)
	watch.Wait()
	return err
}

// greet tells a person where the platform listens, and how to make it useful if it is new.
func greet(w io.Writer, n *node.Node) {
	if !isTerminal(w) && len(n.State().Accounts) > 0 {
		return
	}
	for _, l := range []struct{ name, what string }{{"submission", "submission (SMTP, STARTTLS)"}, {"submissions", "submission (SMTP, TLS)"}, {"return-path", "return path (SMTP)"}, {"http", "API (HTTP)"}} {
		for _, a := range n.Addrs(l.name) {
			fmt.Fprintf(w, "%-28s %s\n", l.what, a)
		}
	}
	if !hasAdmin(n.State()) {
		fmt.Fprint(w, `
There is no administrator yet. On this machine the admin socket serves whoever may open the data folder.
To make the first administrator's API key, add this to your state file and run "postroad apply -f FILE"
(accounts that are not in the file are deleted):

  [[accounts]]
  name = "operator"

    [[accounts.credentials]]
    name = "admin"
    kind = "api"
    scopes = ["admin"]

The key is printed once.
`)
	}
}

func hasAdmin(s platform.State) bool {
	for _, a := range s.Accounts {
		for i := range a.Credentials {
			if a.Credentials[i].Allows(platform.ScopeAdmin) {
				return true
			}
		}
	}
	return false
}

// newLogger logs to w: JSON, or text; without time stamps where systemd's journal adds its own.
func newLogger(c config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // config has checked it
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	if os.Getenv("JOURNAL_STREAM") != "" && c.Format == "auto" {
		o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(w, o))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// notify tells systemd about our state (sd_notify), where we run under it.
func notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if strings.HasPrefix(path, "@") {
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(state))
	return err
}

func newConfigCmd() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "config", Short: "Check a configuration and print it with all defaults", GroupID: "files", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(file, "")
			if err != nil {
				return err
			}
			return toml.NewEncoder(cmd.OutOrStdout()).Encode(c)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration file; without it the defaults are printed")
	return cmd
}
