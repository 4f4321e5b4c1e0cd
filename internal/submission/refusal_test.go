package submission

import (
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/smtp"
)

// Bad input leaves no trace in the spool, whatever is wrong with it and wherever that shows.
func TestRefusedMessages(t *testing.T) {
	b := newTestbed(t, func(o *Options) { o.MaxSize, o.MaxRecipients = 300<<10, 100 })
	big := strings.Repeat("0123456789abcdef0123456789abcdef\r\n", 4000) // 136 kB: goes to a file
	head := "From: info@shop.example\r\nSubject: x\r\n"
	for _, tt := range []struct {
		name    string
		account string
		from    string
		to      []string
		content string
		kind    Kind
		field   string
	}{
		{"no From", "shop", "", nil, "Subject: x\r\n\r\nx\r\n", BadContent, "From"},
		{"nothing at all", "shop", "", nil, "", BadContent, "From"},
		{"two From fields", "shop", "", nil, head + "From: info@shop.example\r\n\r\nx\r\n", BadContent, "From"},
		{"two addresses in From", "shop", "", nil, "From: info@shop.example, b@shop.example\r\n\r\nx\r\n", BadContent, "From"},
		{"two Subject fields", "shop", "", nil, head + "Subject: y\r\n\r\nx\r\n", BadContent, "Subject"},
		{"From is no address", "shop", "", nil, "From: nobody\r\n\r\nx\r\n", BadContent, "From"},
		{"header line without a colon", "shop", "", nil, head + "nonsense\r\n\r\nx\r\n", BadContent, ""},
		{"unknown control field", "shop", "", nil, head + "X-Postroad-Steam: bulk\r\n\r\nx\r\n", BadContent, "X-Postroad-Steam"},
		{"metadata is no object", "shop", "", nil, head + "X-Postroad-Metadata: [1]\r\n\r\nx\r\n", BadContent, "X-Postroad-Metadata"},
		{"NUL in a small body", "shop", "", nil, head + "\r\na\x00b\r\n", BadContent, "body"},
		{"NUL at the end of a large body", "shop", "", nil, head + "\r\n" + big + "a\x00b\r\n", BadContent, "body"},
		{"bare LF", "shop", "", nil, head + "\r\na\nb\r\n", BadContent, "body"},
		{"bare LF in a large body", "shop", "", nil, head + "\r\n" + big + "a\nb\r\n", BadContent, "body"},
		{"bare CR", "shop", "", nil, head + "\r\na\rb\r\n", BadContent, "body"},
		{"a line over 64 KiB", "shop", "", nil, head + "\r\n" + strings.Repeat("x", smtp.MaxBodyLine+1) + "\r\n", BadContent, "body"},
		{"long lines in signed content", "shop", "", nil, head + "DKIM-Signature: v=1\r\n\r\n" + strings.Repeat("x", 2000) + "\r\n", BadContent, ""},
		{"long lines in large signed content", "shop", "", nil, head + "DKIM-Signature: v=1\r\n\r\n" + big + strings.Repeat("x", 2000) + "\r\n", BadContent, ""},
		{"a mail that goes round", "shop", "", nil, strings.Repeat("Received: from a by b; Sun, 1 Mar 2026 12:00:00 +0000\r\n", smtp.MaxReceived+1) + head + "\r\nx\r\n", BadContent, "Received"},
		{"larger than the limit", "shop", "", nil, head + "\r\n" + big + big + big, TooLarge, ""},
		{"a header without end", "shop", "", nil, head + strings.Repeat("X-A: "+strings.Repeat("b", 70)+"\r\n", smtp.MaxHeaderBytes/70), BadContent, "header"},
		{"another's domain in From", "shop", "", nil, "From: ceo@rival.example\r\n\r\nx\r\n", SenderNotAllowed, "From"},
		{"another's domain in a large message", "shop", "", nil, "From: ceo@rival.example\r\n\r\n" + big, SenderNotAllowed, "From"},
		{"another's domain in Sender", "shop", "", nil, head + "Sender: ceo@rival.example\r\n\r\nx\r\n", SenderNotAllowed, "Sender"},
		{"another's domain in MAIL", "shop", "ceo@rival.example", nil, plainMessage, SenderNotAllowed, "envelope sender"},
		{"not verified", "shop", "", nil, "From: a@new.example\r\n\r\nx\r\n", SenderNotAllowed, "From"},
		{"a domain nobody has", "shop", "", nil, "From: a@elsewhere.example\r\n\r\nx\r\n", SenderNotAllowed, "From"},
		{"expired before it begins", "shop", "", nil, head + "X-Postroad-Expires-At: 2020-01-01T00:00:00Z\r\n\r\nx\r\n", BadRequest, "expires_at"},
		{"too far ahead", "shop", "", nil, head + "X-Postroad-Send-At: 2027-01-01T00:00:00Z\r\n\r\nx\r\n", BadRequest, "send_at"},
		{"more tags than may be", "shop", "", nil, head + "X-Postroad-Tags: " + strings.Repeat("t,", 15) + "\r\nX-Postroad-Tags: u,v,w,x,y,z\r\n\r\n", BadContent, "X-Postroad-Tags"},
		{"over the quota of recipients", "small", "", recipients(21), "From: a@small.example\r\n\r\nx\r\n", Quota, ""},
		{"paused", "stopped", "", nil, plainMessage, Paused, "account"},
		{"no recipient", "shop", "", []string{}, plainMessage, NoRecipients, ""},
		{"too many recipients", "shop", "", recipients(101), plainMessage, TooManyRecipients, "recipient"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.to == nil {
				tt.to = []string{"you@example.com"}
			}
			b.unchanged(func() {
				_, err := b.smtp(b.who(tt.account, "web"), tt.from, tt.to, tt.content)
				wantKind(t, err, tt.kind, tt.field)
			})
		})
	}
	// And the spool is as good as before.
	if _, err := b.smtp(b.shop(), "", []string{"you@example.com"}, plainMessage); err != nil {
		t.Fatal(err)
	}
}

// A mail loop has an enhanced code of its own (RFC 3463 §3.5).
func TestLoopCode(t *testing.T) {
	b := newTestbed(t, nil)
	_, err := b.smtp(b.shop(), "", []string{"you@example.com"}, strings.Repeat("Received: by b\r\n", smtp.MaxReceived+1)+plainMessage)
	e, ok := err.(*Error)
	if !ok || e.Code != (smtp.Enhanced{5, 4, 6}) {
		t.Errorf("error %+v, want 5.4.6", err)
	}
}

func TestRefusedRequests(t *testing.T) {
	b := newTestbed(t, func(o *Options) { o.MaxSize, o.MaxPrivate = 300<<10, 50 })
	good := func() Request {
		return Request{From: Person{Email: "info@shop.example"}, To: persons("you@example.com"), Subject: "x", Text: "x"}
	}
	raw := func(s string) Request { return Request{Raw: []byte(s)} }
	for _, tt := range []struct {
		name       string
		credential string
		r          Request
		change     func(*Request)
		kind       Kind
		field      string
	}{
		{name: "no From", change: func(r *Request) { r.From = Person{} }, kind: BadRequest, field: "from"},
		{name: "no recipient", change: func(r *Request) { r.To = nil }, kind: NoRecipients, field: "to"},
		{name: "bad address", change: func(r *Request) { r.Cc = persons("a@example.com", "b@@example.com") }, kind: BadAddress, field: "cc[1]"},
		{name: "CRLF in an address", change: func(r *Request) { r.To = persons("a@example.com\r\nBcc: x@example.com") }, kind: BadAddress, field: "to[0]"},
		{name: "NUL in an address", change: func(r *Request) { r.To = persons("a\x00@example.com") }, kind: BadAddress, field: "to[0]"},
		{name: "two addresses in one", change: func(r *Request) { r.To = persons("a@example.com, b@example.com") }, kind: BadAddress, field: "to[0]"},
		{name: "CRLF in a name", change: func(r *Request) { r.To = []Person{{"a@example.com", "x\r\nBcc: y"}} }, kind: BadContent, field: "to[0].name"},
		{name: "CRLF in the author's name", change: func(r *Request) { r.From.Name = "x\r\nBcc: y" }, kind: BadContent, field: "from.name"},
		{name: "CRLF in the subject", change: func(r *Request) { r.Subject = "x\r\nBcc: y@example.com" }, kind: BadContent, field: "subject"},
		{name: "LF in the subject", change: func(r *Request) { r.Subject = "x\ny" }, kind: BadContent, field: "subject"},
		{name: "NUL in the subject", change: func(r *Request) { r.Subject = "x\x00y" }, kind: BadContent, field: "subject"},
		{name: "NUL in the text", change: func(r *Request) { r.Text = "x\x00y" }, kind: BadContent, field: "text"},
		{name: "CRLF in a header value", change: func(r *Request) { r.Headers = []Header{{"X-A", "b\r\nBcc: c@example.com"}} }, kind: BadContent, field: "headers[0].value"},
		{name: "CRLF in a header name", change: func(r *Request) { r.Headers = []Header{{"X-A: b\r\nBcc", "c"}} }, kind: BadContent, field: "headers[0].name"},
		{name: "a structural header", change: func(r *Request) { r.Headers = []Header{{"From", "x@rival.example"}} }, kind: BadContent, field: "headers[0].name"},
		{name: "another's domain in a Sender header", change: func(r *Request) { r.Headers = []Header{{"Sender", "x@rival.example"}} }, kind: BadContent, field: "headers[0].name"},
		{name: "CRLF in a file name", change: func(r *Request) { r.Attachments = []Attachment{{Filename: "a\r\nX: y", Content: []byte("x")}} }, kind: BadContent, field: "attachments[0].filename"},
		{name: "CRLF in a content id", change: func(r *Request) {
			r.HTML = "x"
			r.Attachments = []Attachment{{Filename: "b"}, {Filename: "c", ContentID: "c"}, {Filename: "a", ContentID: "a>\r\nX: y", Content: []byte("x")}}
		}, kind: BadContent, field: "attachments[2].content_id"},
		{name: "CRLF in the second file's name", change: func(r *Request) {
			r.HTML = "x"
			r.Attachments = []Attachment{{Filename: "c", ContentID: "c"}, {Filename: "a\r\nX: y"}}
		}, kind: BadContent, field: "attachments[1].filename"},
		{name: "CRLF in a media type", change: func(r *Request) {
			r.Attachments = []Attachment{{Filename: "a", ContentType: "text/plain\r\nX: y", Content: []byte("x")}}
		}, kind: BadContent, field: "attachments[0].content_type"},
		{name: "file without a name", change: func(r *Request) { r.Attachments = []Attachment{{Content: []byte("x")}} }, kind: BadRequest, field: "attachments[0].filename"},
		{name: "control character in a tag", change: func(r *Request) { r.Tags = []string{"a\nb"} }, kind: BadContent, field: "tags"},
		{name: "control character in metadata", change: func(r *Request) { r.Metadata = map[string]string{"a": "b\r\n"} }, kind: BadContent, field: "metadata"},
		{name: "stream", change: func(r *Request) { r.Stream = "urgent" }, kind: BadRequest, field: "stream"},
		{name: "too large", change: func(r *Request) { r.Text = strings.Repeat("x\r\n", 110<<10) }, kind: TooLarge},
		{name: "51 visible recipients", change: func(r *Request) { r.To = persons(recipients(51)...) }, kind: TooManyRecipients, field: "to"},
		{name: "1,001 hidden recipients", change: func(r *Request) { r.Bcc = persons(recipients(1001)...) }, kind: TooManyRecipients, field: "bcc"},
		{name: "too many private copies", change: func(r *Request) { r.To, r.Recipients = nil, persons(recipients(51)...) }, kind: TooManyRecipients, field: "recipients"},
		{name: "private and visible", change: func(r *Request) { r.Recipients = persons("a@example.com") }, kind: BadRequest, field: "recipients"},
		{name: "read-only credential", credential: "reader", kind: Forbidden, field: "credential"},
		{name: "another's domain", change: func(r *Request) { r.From.Email = "x@rival.example" }, kind: SenderNotAllowed, field: "envelope sender"},
		{name: "expires before it is sent", change: func(r *Request) { r.SendAt, r.ExpiresAt = testTime.Add(time.Hour), testTime.Add(time.Minute) }, kind: BadRequest, field: "expires_at"},
		{name: "idempotency key too long", change: func(r *Request) { r.IdempotencyKey = strings.Repeat("k", 257) }, kind: BadRequest, field: "Idempotency-Key"},

		{name: "raw: no recipient", r: raw("From: info@shop.example\r\n\r\nx\r\n"), kind: NoRecipients, field: "to"},
		{name: "raw: bad To", r: raw("From: info@shop.example\r\nTo: a@@b\r\n\r\nx\r\n"), kind: BadContent, field: "To"},
		{name: "raw: with a subject beside it", r: Request{Raw: []byte(plainMessage), Subject: "x"}, kind: BadRequest, field: "raw"},
		{name: "raw: private copies", r: Request{Raw: []byte(plainMessage), Recipients: persons("a@example.com")}, kind: BadRequest, field: "recipients"},
		{name: "raw: mixed line ends", r: raw(plainMessage + "a\nb\r\n"), kind: BadContent, field: "body"},
		{name: "raw: two From fields", r: raw("From: info@shop.example\r\n" + plainMessage), kind: BadContent, field: "From"},
		{name: "raw: empty", r: Request{Raw: []byte{}, To: persons("a@example.com")}, kind: BadContent, field: "From"},
		{name: "raw: too large", r: raw(plainMessage + strings.Repeat("x\r\n", 110<<10)), kind: TooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.r.Raw == nil {
				tt.r = good()
			}
			if tt.change != nil {
				tt.change(&tt.r)
			}
			if tt.credential == "" {
				tt.credential = "web"
			}
			b.unchanged(func() {
				_, err := b.Send(t.Context(), b.who("shop", tt.credential), tt.r)
				wantKind(t, err, tt.kind, tt.field)
			})
		})
	}
}

func TestRawRequest(t *testing.T) {
	b := newTestbed(t, nil)
	// A file of a Unix machine: LF alone. Its hidden recipients get it and are not told of.
	r, err := b.Send(t.Context(), b.shop(), Request{Raw: []byte("From: info@shop.example\nSender: robot@shop.example\nTo: a@example.com, b@example.com\nCc: c@example.com\nBcc: d@example.com, a@example.com\nSubject: x\n\nhello\n")})
	if err != nil {
		t.Fatal(err)
	}
	m, content := b.message(r.Message), b.stored(r.Message)
	if r.Count != 4 || m.From.String() != "robot@shop.example" || strings.Contains(content, "d@example.com") || !strings.HasSuffix(content, "\r\n\r\nhello\r\n") {
		t.Errorf("%d recipients, envelope sender %s, content %q", r.Count, m.From, content)
	}
	// A credential that is told to normalise repairs mixed line ends too.
	if _, err := b.Send(t.Context(), b.who("shop", "unix"), Request{Raw: []byte(plainMessage + "a\nb\rc\r\n"), To: persons("x@example.com")}); err != nil {
		t.Error(err)
	}
}

func TestRecipientRules(t *testing.T) {
	b := newTestbed(t, nil)
	begin := func(e Envelope) *Transaction {
		tx, err := b.Begin(t.Context(), b.shop(), Client{}, mail.Address{}, e)
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	wantKind(t, begin(Envelope{}).AddRecipient(t.Context(), mail.Address{}, RecipientOptions{}), BadAddress, "recipient")
	wantKind(t, begin(Envelope{}).AddRecipient(t.Context(), address(t, "jürgen@example.com"), RecipientOptions{}), BadAddress, "recipient")
	if err := begin(Envelope{UTF8: true}).AddRecipient(t.Context(), address(t, "jürgen@example.com"), RecipientOptions{}); err != nil {
		t.Error(err)
	}
	_, err := b.Begin(t.Context(), b.shop(), Client{}, mail.Address{}, Envelope{Size: b.MaxSize() + 1})
	wantKind(t, err, TooLarge, "SIZE")
}

// What a session learned at its beginning does not outlive a change.
func TestChangedWhileConnected(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*platform.State)
		kind   Kind
		field  string
	}{
		{"nothing of it", func(s *platform.State) { s.Accounts[1].Contact = "x@example.com" }, "", ""},
		{"account paused", func(s *platform.State) { s.Accounts[0].State = platform.AccountPaused }, Paused, "account"},
		{"account gone", func(s *platform.State) { s.Accounts = s.Accounts[1:] }, Forbidden, "credential"},
		{"credential gone", func(s *platform.State) { s.Accounts[0].Credentials = nil }, Forbidden, "credential"},
		{"credential disabled", func(s *platform.State) { s.Accounts[0].Credentials[0].Disabled = true }, Forbidden, "credential"},
		{"another secret", func(s *platform.State) { s.Accounts[0].Credentials[0].Hash = HashKey("pr_other") }, Forbidden, "credential"},
		{"sender gone", func(s *platform.State) { s.Accounts[0].Senders = nil }, SenderNotAllowed, "From"},
		{"networks narrowed", func(s *platform.State) {
			s.Accounts[0].Credentials[0].Networks = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		}, Forbidden, "credential"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newTestbed(t, nil)
			old := b.shop()
			s := testState()
			tt.change(&s)
			b.apply(s)
			_, err := b.smtp(old, "", []string{"you@example.com"}, plainMessage)
			if tt.kind == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantKind(t, err, tt.kind, tt.field)
		})
	}
}

func TestDiskFull(t *testing.T) {
	b := newTestbed(t, nil)
	b.mu.Lock()
	b.free = 1 << 20
	b.mu.Unlock()
	if err := b.spool.Maintain(t.Context()); err != nil { // it looks at the disk
		t.Fatal(err)
	}
	for name, content := range map[string]string{"small": plainMessage, "large": plainMessage + strings.Repeat("x\r\n", 60<<10)} {
		b.unchanged(func() {
			_, err := b.smtp(b.shop(), "", []string{"you@example.com"}, content)
			if KindOf(err) != NoSpace {
				t.Errorf("%s: %v, want %s", name, err, NoSpace)
			}
		})
	}
	b.unchanged(func() {
		_, err := b.Send(t.Context(), b.shop(), Request{From: Person{Email: "info@shop.example"}, Text: "x", Recipients: persons(recipients(2000)...)})
		if KindOf(err) != NoSpace {
			t.Errorf("many: %v, want %s", err, NoSpace)
		}
	})
	b.mu.Lock()
	b.free = 100 << 30
	b.mu.Unlock()
	if err := b.spool.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.smtp(b.shop(), "", []string{"you@example.com"}, plainMessage); err != nil {
		t.Errorf("there is room again, but %v", err)
	}
}

func TestKindsAreToldApart(t *testing.T) {
	if k := KindOf(io.ErrUnexpectedEOF); k != Unavailable {
		t.Errorf("a foreign error has kind %s", k)
	}
	for k, want := range map[Kind]bool{Quota: true, Throttled: true, InProgress: true, NoSpace: true, Unavailable: true, BadContent: false, Paused: false} {
		if k.Temporary() != want {
			t.Errorf("%s: temporary %v", k, k.Temporary())
		}
	}
}
