package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/postroad/postroad/internal/node"
)

func newBackupCmd() *cobra.Command {
	var file, data string
	var o node.BackupOptions
	cmd := &cobra.Command{
		Use: "backup TO", Short: "Copy platform state, record, archive and master key to a new folder", GroupID: "files", Args: cobra.ExactArgs(1),
		Long: `Copies the platform's state, its record, the archive of sent content and the master key to a new folder, also while the
platform runs. Whoever has the folder can read all of it. With --key the master key goes elsewhere: then secrets and archive
in the backup are locked, for its owner too should the key be lost.

A day of the record that is damaged does not keep the rest from being saved: it is named, and the exit code is 3.

Not part of it: mail that waits in the spool (restored, it would be sent again), event files, and the configuration file.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(file, data)
			if err != nil {
				return err
			}
			info, err := node.Backup(cmd.Context(), c, args[0], o)
			if err != nil {
				return err
			}
			archive := "the archive was left out"
			if info.Archive {
				archive = fmt.Sprintf("%d files of the archive", info.Archived)
			}
			key := "it holds the master key: keep it safe"
			if !info.Key {
				key = "the master key is in " + o.Key + ": keep it apart, nothing opens without it"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "backed up to %s; %s; %s\n", args[0], archive, key)
			if len(info.Damaged) == 0 {
				return nil
			}
			for _, d := range info.Damaged {
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s could not be read and is not in the backup: %s\n", bad("damaged:"), d.Name, d.Problem)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "everything else is; keep an earlier backup that has these days, and look after the disk")
			return exitError{exitNotAsWanted}
		},
	}
	f := cmd.Flags()
	f.StringVarP(&file, "config", "c", os.Getenv("POSTROAD_CONFIG"), "configuration file of the platform")
	f.StringVar(&data, "data", os.Getenv("POSTROAD_DATA"), "data folder of the platform")
	f.StringVar(&o.Key, "key", "", "file to copy the master key to; without it into the backup")
	f.BoolVar(&o.NoArchive, "no-archive", false, "leave the archive of sent content out")
	return cmd
}

func newRestoreCmd() *cobra.Command {
	var file, data string
	var o node.RestoreOptions
	cmd := &cobra.Command{
		Use: "restore FROM", Short: "Make a data folder from a backup", GroupID: "files", Args: cobra.ExactArgs(1),
		Long: `Makes a data folder and the master key file from a backup. The folder must not exist; a master key file may, if it holds
the same key. The folder appears when it is whole, and every file in it is as it was when the backup was made.

What happened after the backup was made is not in it: "postroad serve" names the events that are missing, and whoever was
erased since is in it again. Ask for those erasures once more.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(file, data)
			if err != nil {
				return err
			}
			info, err := node.Restore(cmd.Context(), c, args[0], o)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "restored to %s, as it was at %s\n", c.Data, info.At.Format("2006-01-02 15:04:05 UTC"))
			for _, d := range info.Damaged {
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s was damaged when the backup was made, and is not in it\n", bad("missing:"), d.Name)
			}
			for _, d := range info.Damage {
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", bad("damaged:"), d)
			}
			if os.Geteuid() == 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "it belongs to root: give it and %s to the user the platform runs as\n", node.MasterKeyFile(c))
			}
			if !info.Archive {
				fmt.Fprintln(cmd.OutOrStdout(), "the archive of sent content is not in this backup")
			}
			fmt.Fprintln(cmd.OutOrStdout(), "whoever was erased since then is in it again: ask for those erasures once more")
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&file, "config", "c", os.Getenv("POSTROAD_CONFIG"), "configuration file of the platform")
	f.StringVar(&data, "data", os.Getenv("POSTROAD_DATA"), "data folder to make; it must not exist")
	f.StringVar(&o.Key, "key", "", "file with the master key, if it is not in the backup")
	f.BoolVar(&o.AcceptDamage, "accept-damage", false, "restore also what is not as it was when the backup was made")
	return cmd
}
