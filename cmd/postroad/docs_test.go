package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"github.com/postroad/postroad/internal/bounce"
	"github.com/postroad/postroad/internal/config"
	"github.com/postroad/postroad/internal/manage"
)

// docs are all documents of the project, by name from the project's folder.
func docs(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/decisions/*.md", "changelog/unreleased/*.md", "internal/*/*.md"} {
		files, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			texts[strings.TrimPrefix(filepath.ToSlash(file), "../../")] = string(text)
		}
	}
	if len(texts) < 20 {
		t.Fatalf("%d documents", len(texts))
	}
	return texts
}

// block is a code block of a document: fenced, or indented by four.
type block struct {
	language string // what stands behind the fence
	text     string
}

// codeOf returns the code blocks of a document, and the code in its running text.
func codeOf(text string) (blocks []block, spans []string) {
	var prose strings.Builder
	var in *block
	fenced, blank := false, true
	end := func() {
		if in != nil {
			blocks = append(blocks, *in)
			in = nil
		}
	}
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "```"):
			end()
			if fenced = !fenced; fenced {
				in = &block{language: strings.TrimSpace(line[3:])}
			}
		case fenced:
			in.text += line
		case strings.HasPrefix(line, "    ") && (in != nil || blank):
			if in == nil {
				in = &block{}
			}
			in.text += strings.TrimPrefix(line, "    ")
		case in != nil && strings.TrimSpace(line) == "":
			in.text += line
		default:
			end()
			prose.WriteString(line)
		}
		blank = strings.TrimSpace(line) == ""
	}
	end()
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(prose.String(), -1) {
		spans = append(spans, strings.Join(strings.Fields(m[1]), " "))
	}
	return blocks, spans
}

// split splits a command line as a shell would: quotes, a comment, an end at a redirection. Brackets around what may be
// left out go.
func split(line string) (list []string) {
	var word strings.Builder
	quoted, open := false, false
	end := func() {
		if open {
			list = append(list, word.String())
		}
		word.Reset()
		open = false
	}
	for i, r := range line {
		switch {
		case r == '"':
			quoted, open = !quoted, true
		case quoted:
			word.WriteRune(r)
		case r == ' ':
			end()
		case r == '#' && !open, r == '>', r == ';', r == '|' && strings.HasSuffix(line[:i], " "):
			end()
			return list
		case r == '[' || r == ']':
		default:
			word.WriteRune(r)
			open = true
		}
	}
	end()
	return list
}

// checkCommand says what is wrong with the arguments of a command line. A whole one must have all arguments the command wants.
func checkCommand(args []string, whole bool) error {
	root := newRoot()
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	if err := cmd.ParseFlags(rest); err != nil && (whole || !strings.HasPrefix(err.Error(), "flag needs an argument")) {
		return err
	}
	rest = cmd.Flags().Args()
	if whole || cmd.HasSubCommands() && len(rest) > 0 {
		return cmd.ValidateArgs(rest)
	}
	return nil
}

// Every command line in documents and help texts can be typed as it stands: the commands, their flags and the number of their
// arguments are right.
func TestDocumentedCommands(t *testing.T) {
	n := 0
	check := func(where, line string, whole bool) {
		args := split(line)
		if len(args) == 0 || args[0] != "postroad" && args[0] != "bin/postroad" {
			return
		}
		n++
		// `postroad feedback list|show|add` names three commands.
		for i, a := range args {
			if first, others, ok := strings.Cut(a, "|"); ok && !strings.HasPrefix(a, "-") {
				for _, other := range strings.Split(others, "|") {
					if err := checkCommand(slices.Concat(args[1:i], []string{other}), false); err != nil {
						t.Errorf("%s: %s: %v", where, line, err)
					}
				}
				args = append(args[:i], first)
				break
			}
		}
		if err := checkCommand(args[1:], whole); err != nil {
			t.Errorf("%s: %s: %v", where, line, err)
		}
	}
	for name, text := range docs(t) {
		blocks, spans := codeOf(text)
		for _, b := range blocks {
			for line := range strings.Lines(b.text) {
				check(name, strings.TrimPrefix(strings.TrimSpace(line), "$ "), true)
			}
		}
		for _, span := range spans {
			check(name, span, false)
		}
	}
	quoted := regexp.MustCompile(`"(postroad [^"]+)"`)
	var help func(c *cobra.Command)
	help = func(c *cobra.Command) {
		for line := range strings.Lines(c.Example) {
			check("help of "+c.CommandPath(), strings.TrimSpace(line), true)
		}
		for _, m := range quoted.FindAllStringSubmatch(c.Long, -1) {
			check("help of "+c.CommandPath(), m[1], false)
		}
		for _, sub := range c.Commands() {
			help(sub)
		}
	}
	help(newRoot())
	if n < 100 {
		t.Errorf("%d command lines found", n)
	}
}

// Every TOML block in a document is what a file of the platform takes: settings, a state, or bounce rules.
func TestDocumentedTOML(t *testing.T) {
	isState := regexp.MustCompile(`(?m)^ *\[\[(accounts|routes|policies|pools|sources|holds)`)
	n := 0
	for name, text := range docs(t) {
		blocks, _ := codeOf(text)
		for _, b := range blocks {
			state := isState.MatchString(b.text)
			if b.language != "toml" && (b.language != "" || !state && !regexp.MustCompile(`^\[[a-z_]+\]\n`).MatchString(b.text)) {
				continue
			}
			n++
			// A comment that is a setting holds as well as what is set.
			for _, text := range []string{b.text, regexp.MustCompile(`(?m)^( *)# ([a-z_]+ = )`).ReplaceAllString(b.text, "$1$2")} {
				var err error
				switch {
				case state:
					s, kinds, parseErr := manage.ParseState([]byte(text))
					if err = parseErr; err == nil && len(kinds) > 1 {
						err = manage.Validate(s)
					}
				case strings.Contains(text, "[[rule]]"):
					_, err = bounce.Load(fstest.MapFS{"own.toml": {Data: []byte(text)}})
				default:
					file := filepath.Join(t.TempDir(), "postroad.toml")
					if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
					_, err = config.Load(file)
				}
				if err != nil && !strings.Contains(err.Error(), "already defined") && !strings.Contains(err.Error(), "already exists") {
					t.Errorf("%s: %v\n%s", name, err, text)
				}
			}
		}
	}
	if n < 6 {
		t.Errorf("%d blocks found", n)
	}
}

// Settings, requests, make targets and links in documents exist.
func TestDocumentedNames(t *testing.T) {
	printed, err := toml.Marshal(config.Default())
	if err != nil {
		t.Fatal(err)
	}
	var settings map[string]any
	if err := toml.Unmarshal(printed, &settings); err != nil {
		t.Fatal(err)
	}
	contract, err := os.ReadFile("../../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var api struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(contract, &api); err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	parameter := regexp.MustCompile(`\{[a-z]+\}`)
	requests := map[string]bool{}
	for path, methods := range api.Paths {
		for method := range methods {
			requests[strings.ToUpper(method)+" "+parameter.ReplaceAllString(path, "{}")] = true
		}
	}
	setting := regexp.MustCompile(`^(?:\[([a-z_]+)\] ([a-z_]+)|([a-z_]+)\.([a-z_]+))(?: = .*)?$`)
	request := regexp.MustCompile(`^(GET|POST|PUT|DELETE) (/[a-z0-9/{}._-]+)`)
	target := regexp.MustCompile(`^make ([a-z]+)`)
	for name, text := range docs(t) {
		_, spans := codeOf(text)
		for _, span := range spans {
			if m := setting.FindStringSubmatch(span); m != nil {
				section, isSection := settings[m[1]+m[3]].(map[string]any)
				if _, ok := section[m[2]+m[4]]; !ok && (isSection || m[1] != "") {
					t.Errorf("%s: there is no setting %s", name, span)
				}
			}
			if m := request.FindStringSubmatch(span); m != nil && strings.HasPrefix(m[2], "/v1") && !requests[m[1]+" "+parameter.ReplaceAllString(m[2], "{}")] {
				t.Errorf("%s: there is no request %s", name, span)
			}
			if m := target.FindStringSubmatch(span); m != nil && !bytes.Contains(makefile, []byte("\n"+m[1]+":")) {
				t.Errorf("%s: there is no %s", name, span)
			}
		}
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(text, -1) {
			checkLink(t, name, m[1])
		}
	}
}

// checkLink finds the file a link leads to, and the heading in it.
func checkLink(t *testing.T, name, link string) {
	t.Helper()
	if strings.Contains(link, "://") {
		return
	}
	path, anchor, _ := strings.Cut(link, "#")
	file := filepath.Join("../..", name)
	if path != "" {
		file = filepath.Join(filepath.Dir(file), path)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("%s links to %s: %v", name, link, err)
		return
	}
	if anchor == "" {
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		heading := strings.ToLower(strings.TrimSpace(strings.TrimLeft(line, "#")))
		heading = regexp.MustCompile(`[^\pL\pN_ -]`).ReplaceAllString(heading, "")
		if strings.HasPrefix(line, "#") && strings.ReplaceAll(heading, " ", "-") == anchor {
			return
		}
	}
	t.Errorf("%s links to %s: no such heading", name, link)
}
