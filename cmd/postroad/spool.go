package main

import (
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
	cmd := &cobra.Command{Use: "spool", Short: "Check, salvage or make room in a spool that is not in use", GroupID: "files", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.PersistentFlags().StringVar(&data, "data", envOr("POSTROAD_DATA", config.Default().Data), "data folder (POSTROAD_DATA)")
	cmd.PersistentFlags().BoolVar(&asJSON, "json", false, "print JSON")
	dir := func() string { return filepath.Join(data, node.SpoolDir) }
	check := &cobra.Command{
		Use: "check", Short: "Read every record and report damage", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := spool.Check(cmd.Context(), dir(), nil)
			if err != nil {
				return err
			}
			return reportSpool(cmd, r, asJSON)
		},
	}
	salvage := &cobra.Command{
		Use: "salvage TO", Short: "Copy all readable records to a new spool folder", Args: cobra.ExactArgs(1),
		Long: `Copies everything that can be read to a new folder, and reports what could not. Then put the new folder in the
place of the old one: move DATA/spool away, move TO there, start the platform.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := spool.Salvage(cmd.Context(), dir(), args[0], nil)
			if err != nil {
				return err
			}
			return reportSpool(cmd, r, asJSON)
		},
	}
	free := &cobra.Command{
		Use: "free", Short: "Give up the ballast file to make room on a full disk", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := spool.Free(dir(), nil); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "the ballast file is gone; the platform makes it anew when there is room")
			return nil
		},
	}
	cmd.AddCommand(check, salvage, free)
	return cmd
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
