package sqlite

import (
	"cmp"
	"slices"

	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/rows"
)

var (
	addAccounts = newMulti("rollup_account", "hour, account, stream, type, class, n, delay",
		`ON CONFLICT (hour, account, stream, type, class) DO UPDATE SET
		n = rollup_account.n + excluded.n, delay = rollup_account.delay + excluded.delay`)

	addSites = newMulti("rollup_site", "hour, receiver, site, type, class, n, delay",
		`ON CONFLICT (hour, receiver, site, type, class) DO UPDATE SET
		n = rollup_site.n + excluded.n, delay = rollup_site.delay + excluded.delay`)

	addRoutes = newMulti("rollup_route", "hour, route, source, type, class, n, delay",
		`ON CONFLICT (hour, route, source, type, class) DO UPDATE SET
		n = rollup_route.n + excluded.n, delay = rollup_route.delay + excluded.delay`)
)

// putRollups adds the batch's counts to the day's rollups.
func putRollups(t *tx, d *day, batch *rows.Batch) error {
	args := make([]any, 0, 7*max(len(batch.Accounts), len(batch.Sites), len(batch.Routes)))
	for _, r := range batch.Accounts {
		args = append(args, int64(r.Hour), r.Account, string(r.Stream), string(r.Type), string(r.Class), r.N, r.Delay.Microseconds())
	}
	if err := addAccounts.exec(t, args); err != nil {
		return err
	}
	sites, err := capSites(t, d, batch.Sites)
	if err != nil {
		return err
	}
	args = args[:0]
	for _, r := range sites {
		args = append(args, int64(r.Hour), r.Receiver, r.Site, string(r.Type), string(r.Class), r.N, r.Delay.Microseconds())
	}
	if err := addSites.exec(t, args); err != nil {
		return err
	}
	args = args[:0]
	for _, r := range batch.Routes {
		args = append(args, int64(r.Hour), r.Route, r.Source, string(r.Type), string(r.Class), r.N, r.Delay.Microseconds())
	}
	if err := addRoutes.exec(t, args); err != nil {
		return err
	}
	return putCounts(t, d, &batch.Counts)
}

// hoursRemembered is how many hours' sites a day keeps in memory from one batch to the next.
const hoursRemembered = 8

// capSites counts sites beyond store.MaxSites in an hour as one. Within a batch the busiest sites come first, and a
// site once counted apart stays so: whoever gets much mail is among the first thousand of an hour.
func capSites(t *tx, d *day, list []rows.SiteRollup) ([]rows.SiteRollup, error) {
	if len(d.sites) > hoursRemembered {
		clear(d.sites)
	}
	load := map[siteHour]int64{}
	for _, r := range list {
		load[siteHour{r.Hour, r.Site}] += r.N
	}
	order := make([]siteHour, 0, len(load))
	for k := range load {
		order = append(order, k)
	}
	slices.SortFunc(order, func(a, b siteHour) int {
		return cmp.Or(cmp.Compare(load[b], load[a]), cmp.Compare(a.hour, b.hour), cmp.Compare(a.site, b.site))
	})
	for _, k := range order {
		known, err := d.knownSites(t, k.hour)
		if err != nil {
			return nil, err
		}
		if len(known) < store.MaxSites {
			known[k.site] = true
		}
	}
	kept := list[:0:0]
	var other map[rows.SiteKey]rows.Sum
	for _, r := range list {
		if d.sites[r.Hour][r.Site] {
			kept = append(kept, r)
			continue
		}
		if other == nil {
			other = map[rows.SiteKey]rows.Sum{}
		}
		key := rows.SiteKey{Hour: r.Hour, Site: store.OtherSites, Type: r.Type, Class: r.Class}
		sum := other[key]
		sum.N += r.N
		sum.Delay += r.Delay
		other[key] = sum
	}
	for key, sum := range other {
		kept = append(kept, rows.SiteRollup{SiteKey: key, Sum: sum})
	}
	return kept, nil
}

type siteHour struct {
	hour rows.Hour
	site string
}

// knownSites returns the sites counted apart in an hour, from memory or from the file.
func (d *day) knownSites(t *tx, hour rows.Hour) (map[string]bool, error) {
	if known := d.sites[hour]; known != nil {
		return known, nil
	}
	known := map[string]bool{}
	err := t.query("SELECT DISTINCT site FROM rollup_site WHERE hour = $1 AND site <> $2", []any{int64(hour), store.OtherSites}, into(known))
	if err != nil {
		return nil, err
	}
	d.sites[hour] = known
	return known, nil
}

// into reads rows of one text into a set.
func into(set map[string]bool) func(rowScanner) error {
	return func(r rowScanner) error {
		var text string
		err := r.Scan(&text)
		set[text] = true
		return err
	}
}
