package smtpclient

import (
	"errors"
	"strings"
	"testing"
)

// TestCRAMMD5 uses the example of RFC 2195 §2.
func TestCRAMMD5(t *testing.T) {
	got := cramMD5("tim", "tanstaaftanstaaf", []byte("<1896.697170952@postoffice.reston.mci.net>"))
	if want := "tim b913a602c7eda7a495b4e6e7334d3890"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAuth(t *testing.T) {
	const ehlo = greet + "S: 250-mx\nS: 250 AUTH "
	clear := Credentials{Username: "tim", Password: "tanstaaftanstaaf", AllowClear: true}
	with := func(mech string) Credentials { c := clear; c.Mechanism = mech; return c }
	strict := func(mech string) Credentials { c := with(mech); c.AllowClear = false; return c }
	for name, test := range map[string]struct {
		script string
		cred   Credentials
		want   string
		err    error
	}{
		"plain":                   {ehlo + "PLAIN\nC: AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm\nS: 235 in", with("plain"), "", nil},
		"plain is the first pick": {ehlo + "CRAM-MD5 LOGIN PLAIN\nC* AUTH PLAIN\nS: 235 in", clear, "", nil},
		"login":                   {ehlo + "LOGIN\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dGlt\nS: 334 UGFzc3dvcmQ6\nC: dGFuc3RhYWZ0YW5zdGFhZg==\nS: 235 in", with("login"), "", nil},
		"login, user name refused": {
			ehlo + "LOGIN\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dGlt\nS: 535 5.7.8 no such user", with("login"), "auth 535 5.7.8 no such user", nil,
		},
		"cram-md5": {
			ehlo + "CRAM-MD5\nC: AUTH CRAM-MD5\nS: 334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\n" +
				"C: dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw\nS: 235 in", strict("cram-md5"), "", nil,
		},
		"cram-md5 is the only pick in clear":    {ehlo + "PLAIN LOGIN CRAM-MD5\nC: AUTH CRAM-MD5\nS: 535 no", strict(""), "auth 535 no", nil},
		"cram-md5, challenge is nonsense":       {ehlo + "CRAM-MD5\nC: AUTH CRAM-MD5\nS: 334 !!!", clear, "auth nonsense", nil},
		"refused":                               {ehlo + "PLAIN\nC* AUTH PLAIN\nS: 535 5.7.8 wrong", clear, "auth 535 5.7.8 wrong", nil},
		"not now":                               {ehlo + "PLAIN\nC* AUTH PLAIN\nS: 454 4.7.0 later", clear, "auth 454 4.7.0 later", nil},
		"one challenge too many":                {ehlo + "PLAIN\nC* AUTH PLAIN\nS: 334 more", clear, "auth nonsense", nil},
		"the peer offers no AUTH":               {greet + "S: 250 mx\nC: QUIT", clear, "auth not offered", ErrNotOffered},
		"the peer offers another mechanism":     {ehlo + "XOAUTH2\nC: QUIT", with("plain"), "auth not offered", ErrNotOffered},
		"nothing we know":                       {ehlo + "XOAUTH2\nC: QUIT", clear, "auth not offered", ErrNotOffered},
		"no password in clear":                  {ehlo + "PLAIN\nC: QUIT", strict("plain"), "auth lost", ErrClearText},
		"nor by login":                          {ehlo + "LOGIN\nC: QUIT", strict("login"), "auth lost", ErrClearText},
		"nor by the pick of the peer":           {ehlo + "PLAIN LOGIN\nC: QUIT", strict(""), "auth not offered", ErrNotOffered},
		"a NUL would end the name":              {ehlo + "PLAIN\nC: QUIT", Credentials{Username: "a\x00b", AllowClear: true}, "auth bad argument", ErrBadArgument},
		"a mechanism we do not know":            {ehlo + "XOAUTH2\nC: QUIT", with("xoauth2"), "auth bad argument", ErrBadArgument},
		"gone":                                  {ehlo + "PLAIN\nC* AUTH PLAIN\nCLOSE", clear, "auth lost", nil},
		"a line end in the name stays in there": {ehlo + "PLAIN\nC: AUTH PLAIN AGENCgBw\nS: 235 in", Credentials{Username: "a\r\n", Password: "p", AllowClear: true}, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			c, wait, err := dialogue(t, new(script), test.script)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Hello(); err != nil {
				t.Fatal(err)
			}
			err = c.Auth(test.cred)
			var e *Error
			if errors.As(err, &e) != (test.want != "") || e != nil && words(e) != test.want {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if test.err != nil && !errors.Is(err, test.err) {
				t.Errorf("%v is not %v", err, test.err)
			}
			if test.err != nil {
				c.out = append(c.out[:0], "QUIT\r\n"...)
				_ = c.write("quit", 1e9)
			}
			c.Close()
			if err := wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEchoedSecrets: peers that quote what they do not like give away no password, whole or cut, neither in what is kept
// of the dialogue nor in the error.
func TestEchoedSecrets(t *testing.T) {
	const (
		ehlo     = greet + "S: 250-mx\nS: 250 AUTH "
		password = "tanstaaftanstaaf"
		inBase64 = "dGFuc3RhYWZ0YW5zdGFhZg=="
		plain    = "AHRpbQB0YW5zdGFhZnRhbnN0YWFm"
		proof    = "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"
		digest   = "b913a602c7eda7a495b4e6e7334d3890"
	)
	login := ehlo + "LOGIN\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dGlt\nS: 334 UGFzc3dvcmQ6\nC: " + inBase64 + "\n"
	cram := ehlo + "CRAM-MD5\nC: AUTH CRAM-MD5\nS: 334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\nC: " + proof + "\n"
	for name, test := range map[string]struct{ mechanism, script, shown string }{
		"plain":                         {"plain", ehlo + "PLAIN\nC* AUTH PLAIN\nS: 500 5.5.1 what is AUTH PLAIN " + plain + "?", "500 5.5.1 what is AUTH PLAIN ***?"},
		"plain, several lines":          {"plain", ehlo + "PLAIN\nC* AUTH PLAIN\nS: 535-5.7.8 wrong\nS: 535 5.7.8 " + plain, "535 5.7.8 ***"},
		"plain, cut":                    {"plain", ehlo + "PLAIN\nC* AUTH PLAIN\nS: 500 5.5.1 [AUTH PLAIN " + plain[:18] + "...]", "500 5.5.1 [AUTH PLAIN ***...]"},
		"plain, its end":                {"plain", ehlo + "PLAIN\nC* AUTH PLAIN\nS: 500 5.5.1 ..." + plain[10:], "500 5.5.1 ...***"},
		"plain, decoded":                {"plain", ehlo + "PLAIN\nC* AUTH PLAIN\nS: 535 5.7.8 tim has not the password " + password, "535 5.7.8 tim has not the password ***"},
		"plain, in what is no reply":    {"plain", ehlo + "PLAIN\nC* AUTH PLAIN\nS: huh? " + plain, `"huh? ***" is no reply line`},
		"plain, in a reply out of step": {"plain", ehlo + "PLAIN\nC* AUTH PLAIN\nS: 334 " + plain, `unexpected reply "334 ***"`},
		"login":                         {"login", login + "S: 535 5.7.8 wrong: " + inBase64, "535 5.7.8 wrong: ***"},
		"login, decoded":                {"login", login + "S: 535 5.7.8 wrong: " + password, "535 5.7.8 wrong: ***"},
		"login, the next challenge":     {"login", login + "S: 334 " + inBase64, `unexpected reply "334 ***"`},
		"cram-md5":                      {"cram-md5", cram + "S: 535 5.7.8 wrong: " + proof, "535 5.7.8 wrong: ***"},
		"cram-md5, decoded":             {"cram-md5", cram + "S: 535 5.7.8 wrong: tim " + digest, "535 5.7.8 wrong: tim ***"},
	} {
		t.Run(name, func(t *testing.T) {
			c, wait, err := dialogue(t, new(script), test.script)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Hello(); err != nil {
				t.Fatal(err)
			}
			err = c.Auth(Credentials{Mechanism: test.mechanism, Username: "tim", Password: password, AllowClear: true})
			if err == nil {
				t.Fatal("no error")
			}
			c.Close()
			if err := wait(); err != nil {
				t.Error(err)
			}
			for what, text := range map[string]string{"error": err.Error(), "transcript": c.Transcript()} {
				if !strings.Contains(text, test.shown) {
					t.Errorf("%s lacks %s:\n%s", what, test.shown, text)
				}
				for _, secret := range []string{password, inBase64, plain, proof, digest} {
					for i := range len(secret) - 8 {
						if strings.Contains(text, secret[i:i+8]) {
							t.Fatalf("%s gives away %s:\n%s", what, secret[i:i+8], text)
						}
					}
				}
			}
		})
	}
}
