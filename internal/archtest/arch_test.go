package archtest

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/postroad/postroad"

// floors is the plan of docs/architecture.md: a room may import rooms of lower floors only, in ground also those
// named before it.
var floors = []struct {
	name  string
	rooms []string
}{
	{"ground", []string{"smtp", "message", "dns"}},
	{"words", []string{"mail", "platform"}},
	{"crafts", []string{"dkim", "report", "mx", "smtpserver", "smtpclient", "authcheck", "figures"}},
	{"rules", []string{"tenant", "route", "egress", "suppression", "bounce", "reputation", "compliance", "compose", "paper"}},
	{"shelves", []string{"spool", "store", "bus"}},
	{"works", []string{"submission", "queue", "delivery", "feedback", "projector", "archive", "webhook", "manage", "campaign", "practice", "reporting", "notify"}},
	{"doors", []string{"smtpd", "api", "compat", "inhook", "console", "config"}},
	{"house", []string{"node"}},
}

// apart are packages outside the floors. The client speaks HTTP like anybody else's.
var apart = map[string]string{
	"client":   "it is what a customer could write: it may know the words of mail and nothing else",
	"archtest": "it reads the code and takes no part in it",
}

// sameFloor are the steps allowed within a floor, each with its reason.
var sameFloor = map[string]string{
	"platform -> mail": "the platform's nouns are told in the words of mail",
}

// forbidden are imports a room must not have, with what goes wrong otherwise.
var forbidden = []struct {
	rooms  []string
	prefix string
	why    string
}{
	{[]string{"tenant", "route", "egress", "suppression", "bounce", "reputation", "compliance", "compose", "paper"}, "net", "rules are functions of facts and time; sockets belong to works"},
	{[]string{"tenant", "route", "egress", "suppression", "bounce", "reputation", "compliance", "compose", "paper"}, "os", "rules read no files; hand them the bytes or an fs.FS"},
	{[]string{"tenant", "route", "egress", "suppression", "bounce", "reputation", "compliance", "compose", "paper"}, "database/sql", "rules do not look things up; hand them the facts"},
	{[]string{"tenant", "route", "egress", "suppression", "bounce", "reputation", "compliance", "compose", "paper"}, module + "/internal/dns", "rules ask nobody; hand them the answers"},
	{[]string{"tenant", "route", "egress", "suppression", "bounce", "reputation", "compliance", "compose", "paper"}, module + "/internal/smtpclient", "rules open no connections"},
	{[]string{"smtp", "message", "mail", "platform", "dkim", "report", "smtpserver", "smtpclient", "mx"}, "github.com/prometheus", "crafts are usable without a metrics library; report through an option"},
}

// allowedNet are the parts below "net" that hold no sockets.
var allowedNet = []string{"net/netip", "net/mail", "net/textproto", "net/url"}

type pkg struct {
	path  string // below the module
	room  string // first element below internal/
	files []*ast.File
	names []string
}

func load(t *testing.T) []*pkg {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	byDir := map[string]*pkg{}
	fset := token.NewFileSet()
	for _, top := range []string{"internal", "cmd", "test"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				if os.IsNotExist(err) {
					return nil
				}
				return err
			}
			if d.IsDir() && d.Name() == "testdata" {
				return fs.SkipDir
			}
			if d.IsDir() || !strings.HasSuffix(p, ".go") {
				return nil
			}
			f, err := parser.ParseFile(fset, p, nil, parser.ImportsOnly|parser.ParseComments)
			if err != nil {
				return err
			}
			dir, _ := filepath.Rel(root, filepath.Dir(p))
			k := byDir[dir]
			if k == nil {
				k = &pkg{path: filepath.ToSlash(dir)}
				if rest, ok := strings.CutPrefix(k.path, "internal/"); ok {
					k.room, _, _ = strings.Cut(rest, "/")
				}
				byDir[dir] = k
			}
			k.files = append(k.files, f)
			k.names = append(k.names, filepath.ToSlash(p[len(root)+1:]))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var all []*pkg
	for _, k := range byDir {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b *pkg) int { return strings.Compare(a.path, b.path) })
	return all
}

func floorOf(room string) (floor, place int) {
	for i, f := range floors {
		if j := slices.Index(f.rooms, room); j >= 0 {
			return i, j
		}
	}
	return -1, -1
}

func imports(f *ast.File) []string {
	var list []string
	for _, s := range f.Imports {
		p, _ := strconv.Unquote(s.Path.Value)
		list = append(list, p)
	}
	return list
}

// TestFloors fails when a room imports its own floor or a higher one. Rooms of one floor meet in node, through func
// values of lower floors' types; that is what lets each be read, tested and replaced alone.
func TestFloors(t *testing.T) {
	for _, k := range load(t) {
		if k.room == "" || apart[k.room] != "" {
			continue
		}
		mine, place := floorOf(k.room)
		if mine < 0 {
			t.Errorf("%s: room %q has no floor; give it one in archtest and docs/architecture.md", k.path, k.room)
			continue
		}
		for i, f := range k.files {
			test := strings.HasSuffix(k.names[i], "_test.go")
			for _, imp := range imports(f) {
				rest, ok := strings.CutPrefix(imp, module+"/internal/")
				if !ok {
					continue
				}
				room, closet, _ := strings.Cut(rest, "/")
				if room == k.room {
					continue
				}
				if test {
					continue // a test may stand on any floor
				}
				if closet != "" && k.room != "node" {
					t.Errorf("%s imports %s: closets (adapters) are imported by node only, so that rooms depend on the interface", k.names[i], imp)
				}
				theirs, theirPlace := floorOf(room)
				switch {
				case theirs < mine:
				case theirs == mine && mine == 0 && theirPlace < place:
				case theirs == mine && sameFloor[k.room+" -> "+room] != "":
				case theirs == mine:
					t.Errorf("%s imports %s: both are on the floor %q; let them meet in node through func values", k.names[i], imp, floors[mine].name)
				default:
					t.Errorf("%s (%s) imports %s, which is on a higher floor: turn the arrow round, or move the shared part down", k.names[i], floors[mine].name, imp)
				}
			}
		}
	}
}

// TestForbiddenImports fails when a room gains a dependency that would undo what the room promises.
func TestForbiddenImports(t *testing.T) {
	for _, k := range load(t) {
		for i, f := range k.files {
			if strings.HasSuffix(k.names[i], "_test.go") {
				continue
			}
			for _, imp := range imports(f) {
				if slices.Contains(allowedNet, imp) {
					continue
				}
				for _, rule := range forbidden {
					if slices.Contains(rule.rooms, k.room) && (imp == rule.prefix || strings.HasPrefix(imp, rule.prefix+"/")) {
						t.Errorf("%s imports %s: %s", k.names[i], imp, rule.why)
					}
				}
				if k.room == "client" && strings.HasPrefix(imp, module) && imp != module+"/internal/mail" {
					t.Errorf("%s imports %s: %s", k.names[i], imp, apart["client"])
				}
			}
		}
	}
}

// TestPackageComments fails when a package does not say what it is, says it twice, or names no neighbour.
func TestPackageComments(t *testing.T) {
	for _, k := range load(t) {
		var docs []string
		var text string
		for i, f := range k.files {
			if f.Doc != nil && !strings.HasSuffix(k.names[i], "_test.go") {
				docs = append(docs, k.names[i])
				text = f.Doc.Text()
			}
		}
		production := slices.ContainsFunc(k.names, func(n string) bool { return !strings.HasSuffix(n, "_test.go") })
		switch {
		case !production:
		case len(docs) != 1:
			t.Errorf("%s has %d package comments %v, want exactly one", k.path, len(docs), docs)
		case k.room != "" && k.path == "internal/"+k.room && !strings.Contains(text, "# Not here"):
			t.Errorf("%s: the package comment has no heading \"# Not here\" that names the neighbour doing the neighbouring thing", docs[0])
		}
	}
}

// maxLines is where a file is asked whether it holds two ideas.
const maxLines = 800

func TestFileSize(t *testing.T) {
	for _, k := range load(t) {
		for _, name := range k.names {
			f, err := os.Open("../../" + name)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for s := bufio.NewScanner(f); s.Scan(); {
				n++
			}
			f.Close()
			if n > maxLines {
				t.Errorf("%s has %d lines, more than %d: does it hold two ideas?", name, n, maxLines)
			}
		}
	}
}

var citation = regexp.MustCompile(`RFC (\d{3,5})`)

// TestRFCRegister fails when code cites an RFC that docs/rfc/index.tsv does not list, so that the register can be
// trusted as the list of what we follow and how far.
func TestRFCRegister(t *testing.T) {
	b, err := os.ReadFile("../../docs/rfc/index.tsv")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for i, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		cols := strings.Split(line, "\t")
		if i == 0 {
			continue
		}
		if len(cols) != 4 || !slices.Contains([]string{"yes", "partial", "no"}, cols[2]) {
			t.Errorf("docs/rfc/index.tsv:%d: want number, title, yes|partial|no, notes in four columns", i+1)
			continue
		}
		listed[cols[0]] = true
	}
	for _, k := range load(t) {
		for _, name := range k.names {
			src, err := os.ReadFile("../../" + name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range citation.FindAllSubmatch(src, -1) {
				if n := string(m[1]); !listed[n] {
					t.Errorf("%s cites RFC %s, which docs/rfc/index.tsv does not list", name, n)
					listed[n] = true // say it once
				}
			}
		}
	}
}
