package rows

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
)

// fill sets every field of v, so that one added to a type later is in the test at once.
func fill(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Date(2026, 7, 1, 10, 0, 0, 1000**n, time.UTC)
		return
	case *mail.Address:
		*x = mail.Address{Local: "odd local", Domain: "example.com"}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("te\"x\\t\n\u0001\u00fc\U0001f600 </&> " + string(rune('a'+*n%26)))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n % 250))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"b": "2", "a\"": "1\n"}))
	default:
		t.Fatalf("a field of kind %s: teach the encoder and this test about it", v.Kind())
	}
}

func filledEvent(t *testing.T) *mail.Event {
	e := new(mail.Event)
	n := 0
	fill(t, reflect.ValueOf(e).Elem(), &n)
	return e
}

// TestEvent: nothing of an event gets lost, but what is in the row's columns and in the message.
func TestEvent(t *testing.T) {
	for name, want := range map[string]*mail.Event{"full": filledEvent(t), "empty": {At: time.Unix(0, 0).UTC()}} {
		data := AppendEvent(nil, want)
		got := &mail.Event{ID: want.ID, Type: want.Type, Account: want.Account, Delivery: want.Delivery, Envelope: want.Envelope}
		if err := DecodeEvent(data, got); err != nil {
			t.Fatalf("%s: %v: %s", name, err, data)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if err := DecodeEvent([]byte("{"), &mail.Event{}); err == nil {
		t.Error("half an event was read")
	}
}

func TestMessage(t *testing.T) {
	full := filledEvent(t).Envelope
	for name, want := range map[string]*mail.Message{"full": full, "little": {ID: full.ID, AcceptedAt: full.AcceptedAt}} {
		data := AppendMessage(nil, want)
		got, err := DecodeMessage(data)
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, data)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if _, err := DecodeMessage([]byte("{")); err == nil {
		t.Error("half a message was read")
	}
}

// FuzzQuoted: whatever the text, the JSON is valid and says the same as encoding/json.
func FuzzQuoted(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\\n\r\t\x00\x1f\x7f", "\xff\xc3", "\u00fc\ufffd\U0001f600", "\u2028"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ours := appendQuoted(nil, s)
		theirs, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var a, b string
		if err := json.Unmarshal(ours, &a); err != nil {
			t.Fatalf("%q: %v", ours, err)
		}
		if err := json.Unmarshal(theirs, &b); err != nil {
			t.Fatal(err)
		}
		if a != b {
			t.Errorf("%q reads as %q, want %q", s, a, b)
		}
	})
}
