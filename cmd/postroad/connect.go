package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/postroad/postroad/internal/client"
	"github.com/postroad/postroad/internal/config"
)

// defaultURL is where a platform without a configuration listens.
const defaultURL = "http://127.0.0.1:2080"

// connection are the flags of commands that ask a running platform.
type connection struct {
	url, key, data, account string
	// chosen reports that the data folder was named, on the command line or in the environment.
	chosen func() bool
	json   bool
}

func (c *connection) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.url, "url", os.Getenv("POSTROAD_URL"), "API address (POSTROAD_URL); without it the admin socket of a platform on this machine")
	f.StringVar(&c.data, "data", envOr("POSTROAD_DATA", config.Default().Data), "data folder of the platform, to find its admin socket (POSTROAD_DATA)")
	c.chosen = func() bool { return f.Changed("data") || os.Getenv("POSTROAD_DATA") != "" }
	f.StringVar(&c.account, "account", os.Getenv("POSTROAD_ACCOUNT"), "account to act for, as operator (POSTROAD_ACCOUNT)")
	f.BoolVar(&c.json, "json", false, "print JSON")
	// A key on the command line would show in the process list.
	c.key = os.Getenv("POSTROAD_API_KEY")
	cmd.GroupID = "use"
}

// open finds the platform: at --url with the key in POSTROAD_API_KEY, else by its admin socket. A data folder that was named, or
// that is there, is the platform that is meant: where it does not run no other one is asked, for a change would be made to
// the wrong one.
func (c *connection) open(cmd *cobra.Command) (*client.Client, error) {
	o := client.Options{URL: c.url, Key: c.key, Account: c.account}
	if c.url == "" {
		loopback := defaultURL
		if _, err := os.Stat(c.data); err == nil || c.chosen() {
			loopback = ""
		}
		socket, err := client.Discover(cmd.Context(), c.data, loopback)
		if err != nil {
			return nil, err
		}
		if o.Socket = socket; loopback != "" {
			fmt.Fprintln(cmd.ErrOrStderr(), dim("asking the platform in "+filepath.Dir(socket)+"; name another with --data or --url"))
		}
	}
	cl, err := client.New(o)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(cmd.Context(), cl.Close) // when the command is over
	return cl, nil
}

func envOr(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}

// do asks once.
func (c *connection) do(cmd *cobra.Command, method, path string, q url.Values, in, into any) error {
	cl, err := c.open(cmd)
	if err != nil {
		return err
	}
	return cl.Do(cmd.Context(), method, path, q, in, into)
}

// get asks for a document and prints it, or its JSON.
func (c *connection) get(cmd *cobra.Command, path string, q url.Values, into any, print func(io.Writer, any)) error {
	if err := c.do(cmd, http.MethodGet, path, q, nil, into); err != nil {
		return err
	}
	if c.json {
		return printJSON(cmd.OutOrStdout(), into)
	}
	print(c.screen(cmd), into)
	return nil
}

// copy writes a document as it comes.
func (c *connection) copy(cmd *cobra.Command, path string, q url.Values, w io.Writer) error {
	cl, err := c.open(cmd)
	if err != nil {
		return err
	}
	b, err := cl.Raw(cmd.Context(), http.MethodGet, path, q, "", nil, nil)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// change makes a change of state and prints what it did.
func (c *connection) change(cmd *cobra.Command, method, path string, in any) error {
	var r stateReport
	if err := c.do(cmd, method, path, nil, in, &r); err != nil {
		return err
	}
	if c.json {
		return printJSON(cmd.OutOrStdout(), r)
	}
	r.print(c.screen(cmd))
	return nil
}
