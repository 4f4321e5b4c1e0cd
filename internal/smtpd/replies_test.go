package smtpd

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/smtp"
	"github.com/postroad/postroad/internal/submission"
)

// kinds reads the kinds from submission's source: a kind added there must get a reply here.
func kinds(t *testing.T) (list []submission.Kind) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../submission/error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if id, ok := spec.Type.(*ast.Ident); !ok || id.Name != "Kind" {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, submission.Kind(text))
		return true
	})
	if len(list) < 10 {
		t.Fatalf("found only the kinds %q", list)
	}
	return list
}

func TestEveryKindHasAReply(t *testing.T) {
	all := kinds(t)
	for _, k := range all {
		s, ok := statuses[k]
		if !ok {
			t.Errorf("kind %s has no reply", k)
			continue
		}
		if int(s.enhanced[0]) != s.code/100 {
			t.Errorf("kind %s: %d with %s", k, s.code, s.enhanced)
		}
		// TooManyRecipients is temporary in SMTP only: the client sends the rest in another transaction.
		if temporary := s.code/100 == 4; temporary != k.Temporary() && k != submission.TooManyRecipients {
			t.Errorf("kind %s: %d, but Temporary is %v", k, s.code, k.Temporary())
		}
	}
	if len(statuses) != len(all) {
		t.Errorf("%d replies for %d kinds", len(statuses), len(all))
	}
}

func TestRefusal(t *testing.T) {
	inner := errors.New("inner")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&submission.Error{Kind: submission.Quota, Detail: "enough for today"}, "450 4.7.1 enough for today"},
		{fmt.Errorf("wrapped: %w", &submission.Error{Kind: submission.BadContent, Field: "From", Detail: "missing", Err: inner}), "554 5.6.0 From: missing"},
		{&submission.Error{Kind: "new-kind", Detail: "odd"}, "451 4.3.0 odd"},
		{&submission.Error{Kind: submission.BadContent, Detail: "a\r\n250 OK\x00\u00fc"}, "554 5.6.0 a??250 OK??"},
	} {
		var re *smtp.ReplyError
		if err := refusal(tt.err); !errors.As(err, &re) || re.Reply.String() != tt.want {
			t.Errorf("refusal(%v) = %v, want %q", tt.err, err, tt.want)
		}
	}
	long := refusal(&submission.Error{Kind: submission.BadContent, Detail: strings.Repeat("x", 1000)})
	var re *smtp.ReplyError
	if !errors.As(long, &re) || len(re.Reply.Append(nil)) > smtp.MaxReplyLine {
		t.Errorf("a reply line of %d octets", len(re.Reply.Append(nil)))
	}
	if err := refusal(inner); err != inner {
		t.Errorf("a foreign error became %v", err)
	}
	if err := refusal(nil); err != nil {
		t.Errorf("nil became %v", err)
	}
}
