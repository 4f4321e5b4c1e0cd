package main

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/postroad/postroad/internal/client"
)

// mostPerPage is how many entries the API gives in one answer.
const mostPerPage = 1000

// pager are the flags of listings: how many entries, and where to go on.
type pager struct {
	max    int
	cursor string
}

func (p *pager) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&p.max, "max", 50, "how many at most; 0 for all")
	cmd.Flags().StringVar(&p.cursor, "cursor", "", "go on where a list ended")
}

// pages asks for a list a page at a time, from p.cursor on, until p.max entries are there. take is given each page and returns
// how many entries it has and the cursor of the next, "" at the end. pages returns the cursor to go on with.
func pages[Page any](ctx context.Context, c *client.Client, path string, q url.Values, p pager, take func(*Page) (n int, next string)) (next string, err error) {
	if q == nil {
		q = url.Values{}
	}
	next = p.cursor
	for had := 0; ; {
		size := mostPerPage
		if p.max > 0 {
			size = min(size, p.max-had)
		}
		q.Set("max", strconv.Itoa(size))
		if next != "" {
			q.Set("cursor", next)
		}
		page := new(Page)
		if err := c.Do(ctx, http.MethodGet, path, q, nil, page); err != nil {
			return "", err
		}
		n, more := take(page)
		next = more
		if had += n; next == "" || p.max > 0 && had >= p.max {
			return next, nil
		}
	}
}

// more tells how a list goes on that ended at the most that was asked for.
func (c *connection) more(cmd *cobra.Command, next string) {
	if next != "" && !c.json {
		hint(c.screen(cmd), dim("there is more: --cursor "+next+", or --max 0 for all"))
	}
}
