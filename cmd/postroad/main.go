// Command postroad is the platform and the tool to run it: one binary, one file per command. A command parses its
// flags and calls node (to run the platform), client (to ask a running one), or a room that works on files.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/postroad/postroad/internal/client"
	"github.com/postroad/postroad/internal/node"
)

// Exit codes, as README.md lists them.
const (
	exitOK          = 0
	exitFailure     = 1 // it could not be done; the message says why
	exitUsage       = 2 // the command line is wrong
	exitNotAsWanted = 3 // it was done, and the result is not the one hoped for: not delivered, check failed
	exitUnreachable = 4 // no platform answers
)

// exitError ends the program with a code; its text, if any, has been printed by the command.
type exitError struct{ code int }

// Error implements error.
func (e exitError) Error() string { return fmt.Sprintf("exit status %d", e.code) }

// usageError is a wrong command line.
type usageError struct{ error }

func main() {
	// The first signal asks for an orderly stop, the second ends the program where it stands.
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, cancel)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run runs one command line and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, to, stderr io.Writer) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	out := &results{Writer: guard(to)}
	root.SetOut(out)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil && out.err != nil {
		err = fmt.Errorf("write the result: %w", out.err)
	}
	var code exitError
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return code.code
	case errors.Is(err, context.Canceled):
		return exitFailure
	}
	fmt.Fprintln(stderr, "postroad:", err)
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, client.ErrUnreachable):
		return exitUnreachable
	}
	return exitFailure
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "postroad",
		Short: "Outbound e-mail delivery platform",
		Long: `Postroad takes mail over SMTP and HTTP from many accounts, keeps it safe, delivers it
directly or through a relay, and says for every recipient what happened.

Start with "postroad demo" (a platform on a practice internet) or "postroad serve".`,
		SilenceUsage: true, SilenceErrors: true, Version: node.BuildVersion(),
		// A word that is no command must not pass as help.
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
	})
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run the platform:"}, &cobra.Group{ID: "use", Title: "Use a running platform:"}, &cobra.Group{ID: "files", Title: "Work on files:"})
	root.AddCommand(newServeCmd(), newDemoCmd(), newConfigCmd())
	root.AddCommand(newSuppressCmd())
	root.AddCommand(newSendCmd(), newTraceCmd(), newQueueCmd(), newAlertsCmd(), newArchiveCmd(), newResendCmd(), newLegalHoldCmd(), newEraseCmd(), newAuditCmd(), newApplyCmd(), newExportCmd())
	root.AddCommand(newWebhooksCmd())
	root.AddCommand(newSearchCmd(), newReportCmd(), newUnfinishedCmd(), newRepliesCmd())
	root.AddCommand(newFeedbackCmd(), newMailboxCmd())
	root.AddCommand(newClassifyCmd(), newSpoolCmd(), newBackupCmd(), newRestoreCmd(), newVersionCmd())
	wrapArgs(root)
	complete(root)
	return root
}

// wrapArgs makes errors about arguments usage errors.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

func newVersionCmd() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs, GroupID: "files",
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), node.BuildVersion()) },
	}
}
