package rows

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"github.com/postroad/postroad/internal/mail"
)

// minScrubbedLocal is the shortest local part that is looked for by itself, in characters: shorter ones stand in every
// second text.
const minScrubbedLocal = 3

// Scrubber takes an address out of texts: however it is spelt (mail.Fold, NFD, the domain in U-labels), but not out of longer
// addresses that contain it: joann@ is somebody else than ann@.
type Scrubber struct {
	address *regexp.Regexp
	local   *regexp.Regexp // nil: too short to be looked for
	folded  string         // the address, in the form of mail.Fold
	marker  string
	needle  string
}

// NewScrubber makes one; marker is the address that stands in its place. An address that cannot be parsed is looked for as
// it is written.
func NewScrubber(address, marker string) *Scrubber {
	s := &Scrubber{marker: marker, folded: mail.FoldedText(address)}
	a, err := mail.ParseAddress(address)
	if err != nil {
		s.address, s.needle = pattern(spellings(address)), needle(address)
		return s
	}
	quoted := strings.TrimSuffix(a.String(), "@"+a.Domain)
	domains, look := []string{a.Domain}, quoted+"@"
	if u, err := idna.Lookup.ToUnicode(a.Domain); err == nil && u != a.Domain {
		domains = append(domains, u)
	} else {
		look += a.Domain
	}
	s.address, s.needle = pattern(spellings(quoted)+"@"+spellings(domains...)), needle(look)
	if utf8.RuneCountInString(a.Local) >= minScrubbedLocal {
		// A reply may name the mailbox without its domain: "user ann unknown".
		s.local = pattern(spellings(quoted, a.Local))
	}
	return s
}

// spellings is a pattern of any of the texts in any normal form.
func spellings(texts ...string) string {
	var all []string
	for _, t := range texts {
		for _, t := range []string{norm.NFC.String(t), norm.NFD.String(t), t} {
			if q := regexp.QuoteMeta(t); !slices.Contains(all, q) {
				all = append(all, q)
			}
		}
	}
	return "(?:" + strings.Join(all, "|") + ")"
}

// pattern makes it, for any case.
func pattern(p string) *regexp.Regexp { return regexp.MustCompile("(?i)" + p) }

// needle is the longest part of a text that every spelling of it has, in lower case, and that JSON writes as it is.
func needle(text string) (best string) {
	for _, run := range strings.FieldsFunc(mail.Fold(text), func(r rune) bool {
		// What JSON, or a document in it, writes in another way.
		return r >= utf8.RuneSelf || strings.ContainsRune(`"\<>&/`, r) || r < ' '
	}) {
		if len(run) > len(best) {
			best = run
		}
	}
	return best
}

// Needle is a part of the address in lower case that every text with the address holds, read with ASCII case folded: what a
// query can look for before Holds looks closely. "" is held by every text.
func (s *Scrubber) Needle() string { return s.needle }

// Holds reports whether a text, or a string of a JSON document, names the address.
func (s *Scrubber) Holds(text string) bool {
	found := false
	look := func(t string) string {
		found = found || len(matches(s.address, t, addressEdges)) > 0
		return t
	}
	if json.Valid([]byte(text)) {
		rewriteJSON(text, look)
	} else {
		look(text)
	}
	return found
}

// Text returns text with the marker in place of the address.
func (s *Scrubber) Text(text string) string { return replace(s.address, text, s.marker, addressEdges) }

// Reply is Text for what a peer said of the address: there the local part alone is taken out too.
func (s *Scrubber) Reply(text string) string {
	text = s.Text(text)
	if s.local != nil {
		marker, _, _ := strings.Cut(s.marker, "@")
		text = replace(s.local, text, marker, localEdges)
	}
	return text
}

// Document is Text for each string of a JSON document, as it is when it is read; of another text it is Text.
func (s *Scrubber) Document(doc string) string { return document(doc, s.Text) }

// ReplyDocument is Document with Reply.
func (s *Scrubber) ReplyDocument(doc string) string { return document(doc, s.Reply) }

func document(doc string, fn func(string) string) string {
	if !json.Valid([]byte(doc)) {
		return fn(doc)
	}
	return rewriteJSON(doc, fn)
}

// rewriteJSON returns a valid JSON document with fn of each string in it, names of members among them. Everything else stays
// as it is written.
func rewriteJSON(doc string, fn func(string) string) string {
	var b strings.Builder
	done := 0
	for i := 0; i < len(doc); i++ {
		if doc[i] != '"' {
			continue
		}
		end := i + 1
		for doc[end] != '"' {
			if doc[end] == '\\' {
				end++
			}
			end++
		}
		end++
		var text string
		if err := json.Unmarshal([]byte(doc[i:end]), &text); err == nil {
			if now := fn(text); now != text {
				b.WriteString(doc[done:i])
				b.Write(appendQuoted(nil, now))
				done = end
			}
		}
		i = end - 1
	}
	if done == 0 {
		return doc
	}
	b.WriteString(doc[done:])
	return b.String()
}

// edges says whether what stands before and behind a match leaves it what it seems to be.
type edges func(before, behind string) bool

// addressEdges: a longer local part or a longer domain is another address. Signs between two letters may belong to a local
// part; a "=" does too, but there it is the person's own address with a mark in front (BATV, VERP).
func addressEdges(before, behind string) bool {
	r, n := utf8.DecodeLastRuneInString(before)
	if isWord(r) || strings.ContainsRune("._+-", r) && endsInWord(before[:len(before)-n]) {
		return false
	}
	return domainEnds(behind)
}

func domainEnds(behind string) bool {
	r, n := utf8.DecodeRuneInString(behind)
	return !isWord(r) && (r != '-' && r != '.' || !beginsWithWord(behind[n:]))
}

// localEdges: part of a longer word, or of an address, is no local part alone.
func localEdges(before, behind string) bool {
	if r, _ := utf8.DecodeLastRuneInString(before); isWord(r) || strings.ContainsRune("@._-", r) {
		return false
	}
	r, n := utf8.DecodeRuneInString(behind)
	return !isWord(r) && !strings.ContainsRune("@_-", r) && (r != '.' || !beginsWithWord(behind[n:]))
}

func isWord(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r))
}

func beginsWithWord(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return isWord(r)
}

func endsInWord(s string) bool {
	r, _ := utf8.DecodeLastRuneInString(s)
	return isWord(r)
}

func matches(re *regexp.Regexp, text string, ok edges) (found [][]int) {
	for _, m := range re.FindAllStringIndex(text, -1) {
		if ok(text[:m[0]], text[m[1]:]) {
			found = append(found, m)
		}
	}
	return found
}

func replace(re *regexp.Regexp, text, with string, ok edges) string {
	found := matches(re, text, ok)
	if len(found) == 0 {
		return text
	}
	var b strings.Builder
	done := 0
	for _, m := range found {
		b.WriteString(text[done:m[0]])
		b.WriteString(with)
		done = m[1]
	}
	b.WriteString(text[done:])
	return b.String()
}

// Event takes the address out of an event about it.
func (s *Scrubber) Event(e *mail.Event) {
	e.Recipient = s.marker
	e.ORcpt = "" // the address as the submitter wrote it
	e.Reason = s.Reply(e.Reason)
	if a := e.Attempt; a != nil {
		a.Reply, a.TLSNote = s.Reply(a.Reply), s.Text(a.TLSNote)
		a.Transcript = "" // names it, and in what it was answered perhaps more
	}
}

// Line takes the address out of a line of an event file: an event as JSON, with its line end. Events of other accounts stay as
// they are; account "" takes it out of all.
func (s *Scrubber) Line(line []byte, account string) []byte {
	if s.needle != "" && !bytes.Contains(bytes.ToLower(line), []byte(s.needle)) {
		return line
	}
	var e mail.Event
	if json.Unmarshal(line, &e) != nil { // not ours
		return []byte(s.Text(string(line)))
	}
	if account != "" && e.Account != account || !s.Holds(string(line)) {
		return line
	}
	if mail.Fold(e.Recipient) == s.folded {
		s.Event(&e)
		if e.Envelope != nil {
			s.Message(e.Envelope)
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if enc.Encode(&e) != nil {
			return line // it was read a moment ago: it can be written
		}
		line = b.Bytes()
	}
	return []byte(s.Document(string(line)))
}

// Message takes out of a message to several what names the address, and of one to it alone what may tell of the person.
func (s *Scrubber) Message(m *mail.Message) {
	if m.Recipients <= 1 {
		m.Subject, m.Metadata, m.EnvID = "", nil, ""
		return
	}
	m.Subject, m.EnvID = s.Text(m.Subject), s.Text(m.EnvID)
	for k, v := range m.Metadata {
		m.Metadata[k] = s.Text(v)
	}
}
