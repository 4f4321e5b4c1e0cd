package main

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postroad/postroad/internal/mail"
)

// completeWait is how long a shell waits for names from a running platform.
const completeWait = 2 * time.Second

// words completes a flag with fixed words.
func words(cmd *cobra.Command, flag string, list ...string) {
	if cmd.Flags().Lookup(flag) != nil {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp)) // fails only if there is one
	}
}

func classWords() (list []string) {
	for _, c := range mail.Classes {
		list = append(list, string(c))
	}
	return list
}

func typeWords() (list []string) {
	for _, t := range mail.EventTypes() {
		list = append(list, string(t))
	}
	return list
}

// complete gives every command completions for what it can name cheaply: fixed words, and names a running platform knows.
func complete(cmd *cobra.Command) {
	words(cmd, "stream", "transactional", "bulk")
	words(cmd, "class", classWords()...)
	words(cmd, "type", typeWords()...)
	words(cmd, "state", "queued", "held", "deferred", "delivered", "relayed", "bounced", "expired", "suppressed", "cancelled")
	words(cmd, "order", "strict", "delivery")
	words(cmd, "period", "today", "yesterday", "7d", "30d", time.Now().UTC().Format("2006-01"))
	switch cmd.CommandPath() {
	case "postroad feedback list":
		words(cmd, "kind", "bounce", "delay", "delivered", "complaint", "auto-reply", "challenge", "other")
		words(cmd, "door", "return-path", "imap", "api", "provider")
		words(cmd, "outcome", "acted", "recorded", "replayed", "forged", "contradicts", "unknown", "expired", "kept", "set-aside")
	case "postroad report":
		words(cmd, "format", "text", "json", "csv", "html")
	case "postroad archive export":
		words(cmd, "format", "mbox", "eml")
	case "postroad queue release", "postroad queue hold":
		cmd.ValidArgsFunction = named("/v1/holds")
	case "postroad legal-hold release":
		cmd.ValidArgsFunction = named("/v1/legal-holds")
	}
	if parent := cmd.Parent(); parent != nil && parent.CommandPath() == "postroad webhooks" && strings.Contains(cmd.Use, " NAME") && cmd.Name() != "add" {
		cmd.ValidArgsFunction = named("/v1/webhooks")
	}
	for _, flag := range []string{"account", "of"} {
		if cmd.Flags().Lookup(flag) != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag, named("/v1/accounts"))
		}
	}
	for _, sub := range cmd.Commands() {
		complete(sub)
	}
}

// named completes with the names of a list of the API. Where no platform answers there are none.
func named(path string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		none := cobra.ShellCompDirectiveNoFileComp
		if len(args) > 0 && path != "/v1/accounts" {
			return nil, none
		}
		var c connection
		get := func(flag, fallback string) string {
			if f := cmd.Flags().Lookup(flag); f != nil && f.Value.String() != "" {
				return f.Value.String()
			}
			return fallback
		}
		fresh := &cobra.Command{}
		c.add(fresh)
		c.url, c.data = get("url", c.url), get("data", c.data)
		if path != "/v1/accounts" {
			c.account = get("account", c.account)
		} else {
			c.account = ""
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWait)
		defer cancel()
		fresh.SetContext(ctx)
		cl, err := c.open(fresh)
		if err != nil {
			return nil, none
		}
		var list struct {
			Items []struct {
				Name string `json:"name"`
			} `json:"items"`
		}
		if err := cl.Do(ctx, http.MethodGet, path, nil, nil, &list); err != nil {
			return nil, none
		}
		var names []string
		for _, x := range list.Items {
			names = append(names, x.Name)
		}
		return names, none
	}
}
