package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"
)

// stateReport is the answer to a change of state.
type stateReport struct {
	Version int64 `json:"version"`
	Changes []struct {
		Op     string   `json:"op"`
		Kind   string   `json:"kind"`
		Name   string   `json:"name"`
		Fields []string `json:"fields"`
	} `json:"changes"`
	Secrets []struct {
		Where string `json:"where"`
		Login string `json:"login"`
		Value string `json:"value"`
	} `json:"secrets"`
	DryRun bool `json:"dry_run"`
}

func newApplyCmd() *cobra.Command {
	var conn connection
	var file, note string
	var dryRun bool
	cmd := &cobra.Command{
		Use: "apply -f FILE", Short: "Make the running platform match a declared state", Args: cobra.NoArgs,
		Long: `Makes accounts, senders, credentials, pools, sources, routes, policies and holds match FILE, and prints what
changed. A second time nothing changes. Lists that FILE declares are made to match: what is not in them is deleted.
Lists it does not mention stay as they are. "-" reads standard input.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usageError{errors.New("-f FILE is needed; - reads standard input")}
			}
			doc, err := readFile(cmd, file)
			if err != nil {
				return fmt.Errorf("apply: %w", err)
			}
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			q := url.Values{}
			if dryRun {
				q.Set("dry_run", "true")
			}
			if note != "" {
				q.Set("note", note)
			}
			b, err := c.Raw(cmd.Context(), http.MethodPut, "/v1/state", q, "application/toml", doc, nil)
			if err != nil {
				return fmt.Errorf("apply %s: %w", file, err)
			}
			if conn.json {
				_, err := cmd.OutOrStdout().Write(b)
				return err
			}
			var r stateReport
			if err := json.Unmarshal(b, &r); err != nil {
				return fmt.Errorf("apply %s: %w", file, err)
			}
			r.print(cmd.OutOrStdout())
			return nil
		},
	}
	conn.add(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "the state, in TOML")
	cmd.Flags().StringVar(&note, "note", "", "why; it stands in the audit log")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only tell what would change")
	return cmd
}

func (r *stateReport) print(w io.Writer) {
	signs := map[string]string{"create": good("+"), "update": warn("~"), "delete": bad("-")}
	for _, c := range r.Changes {
		fmt.Fprintf(w, "%s %s %s\n", signs[c.Op], c.Kind, c.Name)
		for _, f := range c.Fields {
			fmt.Fprintf(w, "    %s\n", f)
		}
	}
	switch {
	case len(r.Changes) == 0:
		fmt.Fprintln(w, "nothing to change")
	case r.DryRun:
		fmt.Fprintln(w, "dry run: nothing was changed")
	default:
		fmt.Fprintf(w, "%d changed; state version %d\n", len(r.Changes), r.Version)
	}
	if len(r.Secrets) > 0 {
		fmt.Fprintln(w, "\nNew secrets. They are shown only now:")
		for _, s := range r.Secrets {
			fmt.Fprintf(w, "  %s\n", s.Where)
			if s.Login != "" {
				fmt.Fprintf(w, "    login   %s\n", s.Login)
			}
			fmt.Fprintf(w, "    secret  %s\n", s.Value)
		}
	}
}

func newExportCmd() *cobra.Command {
	var conn connection
	cmd := &cobra.Command{
		Use: "export", Short: "Print the platform's state as a file that can be applied", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := conn.open(cmd)
			if err != nil {
				return err
			}
			b, err := c.Raw(cmd.Context(), http.MethodGet, "/v1/state", nil, "", nil, nil)
			if err != nil {
				return fmt.Errorf("export: %w", err)
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		},
	}
	conn.add(cmd)
	return cmd
}

func readFile(cmd *cobra.Command, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(name)
}
