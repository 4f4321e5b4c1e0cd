package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/postroad/postroad/internal/node"
)

func newBackupCmd() *cobra.Command {
	var file, data string
	cmd := &cobra.Command{
		Use: "backup TO", Short: "Copy platform state, record and master key to a new folder", GroupID: "files", Args: cobra.ExactArgs(1),
		Long: `Copies the platform's state, its record and the master key to a new folder, also while the platform runs. Mail that
waits in the spool is not part of it: a copy would send it again.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(file, data)
			if err != nil {
				return err
			}
			if err := node.Backup(cmd.Context(), c, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "backed up to %s; it holds the master key: keep it safe\n", args[0])
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", os.Getenv("POSTROAD_CONFIG"), "configuration file of the platform")
	cmd.Flags().StringVar(&data, "data", os.Getenv("POSTROAD_DATA"), "data folder of the platform")
	return cmd
}

func newRestoreCmd() *cobra.Command {
	var file, data string
	cmd := &cobra.Command{
		Use: "restore FROM", Short: "Make a data folder from a backup", GroupID: "files", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(file, data)
			if err != nil {
				return err
			}
			if err := node.Restore(c, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "restored to %s\n", c.Data)
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", os.Getenv("POSTROAD_CONFIG"), "configuration file of the platform")
	cmd.Flags().StringVar(&data, "data", os.Getenv("POSTROAD_DATA"), "data folder to make; it must not exist")
	return cmd
}
