// Command corpus measures the classifier and the report readers on a folder of real replies and bounce mails: it
// prints the figures, a table of confusions and the misses, and fails below the floors its flags set.
//
//	go run ./test/corpus -corpus DIR [-part held] [-misses=false] [-ablate each]
//
// The folder holds smtp-replies.tsv and bounces/labels.tsv. A quarter of it, chosen by a hash of file names and texts,
// is set aside ("held"): rules are written without looking at it, its misses are listed only when asked for by name, and
// its figures are the honest ones.
//
// # Not here
//
// The samples that prove the rules one by one are in the rule files of bounce; the mails of report's own tests in its
// testdata.
package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/bounce"
)

// part is the share of the corpus that is looked at.
type part string

const (
	all   part = "all"
	train part = "train"
	held  part = "held"
)

// takes reports whether the part holds what the key names.
func (p part) takes(key string) bool {
	h := sha256.Sum256([]byte(key))
	// The first octet chose which half of the material is in the folder; the second is independent of it.
	isHeld := h[1]%4 == 0
	return p == all || isHeld == (p == held)
}

// rate counts.
type rate struct{ yes, of int }

func (r *rate) add(yes bool) {
	r.of++
	if yes {
		r.yes++
	}
}

func (r rate) percent() float64 {
	if r.of == 0 {
		return 0
	}
	return 100 * float64(r.yes) / float64(r.of)
}

func (r rate) String() string { return fmt.Sprintf("%5d of %5d  %6.2f %%", r.yes, r.of, r.percent()) }

// matrix counts label against verdict, misses only.
type matrix map[[2]string]int

func (m matrix) add(label, got string, ok bool) {
	if !ok {
		m[[2]string{label, got}]++
	}
}

// scores are the figures of one run.
type scores struct {
	replies    rate
	harm       rate
	kinds      rate
	recipients rate
	classes    rate
	reportHarm rate
	autoBounce rate
	confusion  matrix
	kindConf   matrix
	misses     []string
	hidden     int  // misses of the quarter set aside, where not that alone is looked at
	aside      bool // what is judged now belongs to it

	change   func([]byte) []byte        // spoils each mail before it is read; nil: none
	dropRule bool                       // decide once more without the rule that decided
	rules    map[string]*bounce.Ruleset // less the rule that is the key
}

func (s *scores) miss(what, label, alt, got, shown string) {
	if s.aside {
		s.hidden++
		return
	}
	if alt != "" {
		label += " (or " + alt + ")"
	}
	if len(shown) > 300 {
		shown = shown[:300]
	}
	s.misses = append(s.misses, fmt.Sprintf("%-9s want %s, got %s: %s", what, label, got, shown))
}

func main() {
	dir := flag.String("corpus", "", "folder with smtp-replies.tsv and bounces/")
	which := flag.String("part", string(all), "all, train or held")
	misses := flag.Bool("misses", true, "list the misses; those of the quarter set aside with -part held only")
	change := flag.String("ablate", "", "spoil the material and print what is still understood: each, or the name of one change")
	floors := floorFlags(flag.CommandLine)
	flag.Parse()
	if *dir == "" || !slices.Contains([]part{all, train, held}, part(*which)) {
		flag.Usage()
		os.Exit(2)
	}
	if *change != "" {
		if err := ablate(os.Stdout, *dir, part(*which), *change); err != nil {
			fmt.Fprintln(os.Stderr, "corpus:", err)
			os.Exit(2)
		}
		return
	}
	s := score(*dir, part(*which))
	s.print(os.Stdout, *misses)
	if part(*which) == all {
		fmt.Printf("\nthe quarter set aside (-part %s):\n", held)
		score(*dir, held).figures(os.Stdout)
	}
	if bad := floors.below(s); len(bad) > 0 {
		fmt.Fprintln(os.Stderr, "below the floor:", strings.Join(bad, ", "))
		os.Exit(1)
	}
}

// score judges a part of the folder.
func score(dir string, p part) *scores {
	s := &scores{confusion: matrix{}, kindConf: matrix{}}
	for _, judge := range []func(string, part, *scores) error{scoreReplies, scoreReports} {
		if err := judge(dir, p, s); err != nil {
			fmt.Fprintln(os.Stderr, "corpus:", err)
			os.Exit(2)
		}
	}
	return s
}

func (s *scores) figures(w io.Writer) {
	fmt.Fprintf(w, "replies: class          %s\n", s.replies)
	fmt.Fprintf(w, "replies: harm           %s\n", s.harm)
	fmt.Fprintf(w, "reports: kind           %s\n", s.kinds)
	fmt.Fprintf(w, "reports: recipients     %s\n", s.recipients)
	fmt.Fprintf(w, "reports: class          %s\n", s.classes)
	fmt.Fprintf(w, "reports: harm           %s\n", s.reportHarm)
	fmt.Fprintf(w, "auto-replies as bounces %s\n", s.autoBounce)
}

func (s *scores) print(w io.Writer, misses bool) {
	s.figures(w)
	for _, t := range []struct {
		title string
		m     matrix
	}{{"class confusions", s.confusion}, {"kind confusions", s.kindConf}} {
		if len(t.m) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s (label -> verdict):\n", t.title)
		keys := make([][2]string, 0, len(t.m))
		for k := range t.m {
			keys = append(keys, k)
		}
		slices.SortFunc(keys, func(a, b [2]string) int {
			if d := t.m[b] - t.m[a]; d != 0 {
				return d
			}
			return strings.Compare(a[0]+a[1], b[0]+b[1])
		})
		for _, k := range keys {
			fmt.Fprintf(w, "%4d  %-18s -> %s\n", t.m[k], k[0], k[1])
		}
	}
	if misses {
		fmt.Fprintln(w)
		s.list(w)
	}
}

func (s *scores) list(w io.Writer) {
	for _, m := range s.misses {
		fmt.Fprintln(w, m)
	}
	if s.hidden > 0 {
		fmt.Fprintf(w, "and %d of the quarter set aside (-part %s)\n", s.hidden, held)
	}
}

// floorSet are the figures below which a run fails.
type floorSet struct {
	replies, harm, kinds, recipients, classes *float64
}

func floorFlags(fs *flag.FlagSet) floorSet {
	return floorSet{
		replies:    fs.Float64("floor-replies", 95, "least share of replies with the right class, per cent"),
		harm:       fs.Float64("ceiling-harm", 0.5, "greatest share of replies that suppress an address wrongly, per cent"),
		kinds:      fs.Float64("floor-kinds", 99, "least share of mails with the right kind, per cent"),
		recipients: fs.Float64("floor-recipients", 98, "least share of failing recipients found, per cent"),
		classes:    fs.Float64("floor-classes", 92, "least share of recipients with the right class, per cent"),
	}
}

func (f floorSet) below(s *scores) (bad []string) {
	for _, c := range []struct {
		name  string
		got   rate
		floor float64
	}{
		{"replies", s.replies, *f.replies},
		{"kinds", s.kinds, *f.kinds},
		{"recipients", s.recipients, *f.recipients},
		{"classes", s.classes, *f.classes},
	} {
		if c.got.percent() < c.floor {
			bad = append(bad, fmt.Sprintf("%s %.2f < %.2f", c.name, c.got.percent(), c.floor))
		}
	}
	if s.harm.percent() > *f.harm {
		bad = append(bad, fmt.Sprintf("harm %.2f > %.2f", s.harm.percent(), *f.harm))
	}
	if s.autoBounce.yes > 0 {
		bad = append(bad, fmt.Sprintf("%d auto-replies taken for bounces", s.autoBounce.yes))
	}
	return bad
}
