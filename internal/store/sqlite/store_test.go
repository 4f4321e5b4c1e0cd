package sqlite

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) { storetest.Run(t, open) }

func open(t *testing.T, dir string, o storetest.Options) store.Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Dir: dir, Now: o.Now, Retention: o.Retention, MayGrow: o.MayGrow, Step: o.Step, Transcripts: o.Transcripts, Held: o.Held, OpenDays: 2})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
