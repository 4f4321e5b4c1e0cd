package webhook

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/postroad/postroad/internal/store/storetest"
)

// TestSignatureVector: the example of the Standard Webhooks specification.
func TestSignatureVector(t *testing.T) {
	secret, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	at, body := time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`)
	if got := Signature([][]byte{secret}, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	two := Signature([][]byte{secret, []byte("another secret of some length")}, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body)
	if first, second, ok := strings.Cut(two, " "); !ok || first != want || second == want || !strings.HasPrefix(second, "v1,") {
		t.Errorf("two secrets give %q", two)
	}
}

// TestReferenceLibrary: the specification's own library accepts what we send, under either secret of a rotation, and
// refuses it when anything was changed.
func TestReferenceLibrary(t *testing.T) {
	secrets := [][]byte{[]byte("0123456789abcdef0123456789abcdef"), []byte("an older secret of 24 octets and more")}
	body, err := Body(storetest.NewMail(7, time.Now()).Sent("acme", 1)[1])
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	h := http.Header{}
	h.Set(headerID, "evt_zewgd10000000000001g")
	h.Set(headerTimestamp, strconv.FormatInt(now.Unix(), 10))
	h.Set(headerSignature, Signature(secrets, "evt_zewgd10000000000001g", now, body))
	for _, secret := range secrets {
		receiver, err := standardwebhooks.NewWebhook("whsec_" + base64.StdEncoding.EncodeToString(secret))
		if err != nil {
			t.Fatal(err)
		}
		if err := receiver.Verify(body, h); err != nil {
			t.Errorf("a true request: %v", err)
		}
		if receiver.Verify(append([]byte(" "), body...), h) == nil {
			t.Error("a changed body passes")
		}
		for field, value := range map[string]string{headerID: "evt_zewgd1000000000000g0", headerTimestamp: strconv.FormatInt(now.Unix()+1, 10)} {
			forged := h.Clone()
			forged.Set(field, value)
			if receiver.Verify(body, forged) == nil {
				t.Errorf("another %s passes", field)
			}
		}
	}
	stranger, err := standardwebhooks.NewWebhookRaw([]byte("somebody else's secret of octets"))
	if err != nil {
		t.Fatal(err)
	}
	if stranger.Verify(body, h) == nil {
		t.Error("another secret passes")
	}
}

// TestBody: the form of the body, and that the same event is the same octets whenever it is sent.
func TestBody(t *testing.T) {
	e := storetest.NewMail(7, time.Date(2026, 7, 1, 10, 0, 0, 5e6, time.FixedZone("", 7200))).Sent("acme", 1)[0]
	body, err := Body(e)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(body), `{"type":"accepted","timestamp":"2026-07-01T08:00:00.005Z","data":{"id":"evt_`) {
		t.Errorf("body %s", body)
	}
	for _, inner := range []string{"body_hash", "body_offset", "\n"} {
		if strings.Contains(string(body), inner) {
			t.Errorf("%q in the body %s", inner, body)
		}
	}
	if again, _ := Body(e); string(again) != string(body) {
		t.Error("the body differs the second time")
	}
	if e.Envelope.Content.BodyOffset == 0 {
		t.Error("the event itself was changed")
	}
}
