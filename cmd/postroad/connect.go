package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/postroad/postroad/internal/client"
	"github.com/postroad/postroad/internal/config"
)

// defaultURL is where a platform without a configuration listens.
const defaultURL = "http://127.0.0.1:2080"

// connection are the flags of commands that ask a running platform.
type connection struct {
	url, key, data, account string
	json                    bool
}

func (c *connection) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.url, "url", os.Getenv("POSTROAD_URL"), "API address (POSTROAD_URL); without it the admin socket of a platform on this machine")
	f.StringVar(&c.data, "data", envOr("POSTROAD_DATA", config.Default().Data), "data folder of the platform, to find its admin socket (POSTROAD_DATA)")
	f.StringVar(&c.account, "account", os.Getenv("POSTROAD_ACCOUNT"), "account to act for, as operator (POSTROAD_ACCOUNT)")
	f.BoolVar(&c.json, "json", false, "print JSON")
	// A key on the command line would show in the process list.
	c.key = os.Getenv("POSTROAD_API_KEY")
	cmd.GroupID = "use"
}

// open finds the platform: at --url with the key in POSTROAD_API_KEY, else by its admin socket.
func (c *connection) open(cmd *cobra.Command) (*client.Client, error) {
	o := client.Options{URL: c.url, Key: c.key, Account: c.account}
	if c.url == "" {
		socket, err := client.Discover(cmd.Context(), c.data, defaultURL)
		if err != nil {
			return nil, err
		}
		o.Socket = socket
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
