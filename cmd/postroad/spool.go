package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/postroad/postroad/internal/config"
	"github.com/postroad/postroad/internal/node"
	"github.com/postroad/postroad/internal/spool"
)

func newSpoolCmd() *cobra.Command {
	var data string
	var asJSON bool
	cmd := &cobra.Command{Use: "spool", Short: "Check or salvage a spool that is not in use, or make room on its disk", GroupID: "files", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.PersistentFlags().StringVar(&data, "data", envOr("POSTROAD_DATA", config.Default().Data), "data folder (POSTROAD_DATA)")
	cmd.PersistentFlags().BoolVar(&asJSON, "json", false, "print JSON")
	dir := func() string { return filepath.Join(data, node.SpoolDir) }
	check := &cobra.Command{
		Use: "check", Short: "Read every record and report damage", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := spool.Check(cmd.Context(), dir(), nil)
			if err != nil {
				return withRepair(err)
			}
			return reportSpool(cmd, r, asJSON)
		},
	}
	salvage := &cobra.Command{
		Use: "salvage TO", Short: "Copy all readable records to a new spool folder", Args: cobra.ExactArgs(1),
		Long: `Copies everything that can be read to a new folder, and reports what could not. Then put the new folder in the
place of the old one: move DATA/spool away, move TO there, start the platform. Mail whose end the damage has taken away is in it
again and will be sent again. What an interrupted run has left in TO is made anew.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := node.Salvage(cmd.Context(), data, args[0])
			if err != nil {
				return err
			}
			return reportSpool(cmd, r, asJSON)
		},
	}
	free := &cobra.Command{
		Use: "free", Short: "Give up the ballast file to make room on a full disk", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := spool.Free(dir(), nil)
			switch {
			case err != nil:
				return err
			case n == 0:
				return fmt.Errorf("there is no ballast file in %s: it was given up before", dir())
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d MiB are free again; the platform makes the ballast file anew when there is room\n", n>>20)
			return nil
		},
	}
	cmd.AddCommand(check, salvage, free)
	return cmd
}

// withRepair adds what to do to an error that says that a file of the spool is damaged.
func withRepair(err error) error {
	var damage *spool.DamageError
	if !errors.As(err, &damage) {
		return err
	}
	return fmt.Errorf("%w\n\"postroad spool salvage TO\" copies everything that can be read to a new folder", err)
}

func reportSpool(cmd *cobra.Command, r spool.Report, asJSON bool) error {
	out := cmd.OutOrStdout()
	if asJSON {
		if err := printJSON(out, r); err != nil {
			return err
		}
	} else {
		c := r.Counts
		fmt.Fprintf(out, "messages %d, deliveries %d (held %d, in flight %d), events not yet trimmed %d, reports %d, set aside as damaged %d\n",
			c.Messages, c.Deliveries, c.Held, c.InFlight, c.Outbox, c.Inbox, c.Quarantined)
		for _, p := range r.Problems {
			fmt.Fprintf(out, "%s %s\n", bad("problem:"), p)
		}
		if r.More > 0 {
			fmt.Fprintf(out, "… and %d more\n", r.More)
		}
	}
	if len(r.Problems) > 0 {
		return exitError{exitNotAsWanted}
	}
	return nil
}
