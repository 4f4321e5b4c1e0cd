package node

import (
	"context"
	"fmt"
	"time"

	"github.com/postroad/postroad/internal/spool"
)

// inbox is the spool as the ways in of reports see it. What they bring goes on into the record: where that has stopped
// growing it would only pile up in the spool, and mail from strangers would take the space in which customers' mail is
// accepted. So these doors close where the record stops, above the floor of the spool.
type inbox struct {
	*spool.Spool
	mayGrow func() error
}

func (n *Node) inbox() *inbox { return &inbox{n.spool, n.mayGrow} }

// recordPatience is how long the record may take nothing before reports are refused: the inbox keeps what comes meanwhile, so that a
// store that is busy or restarted costs nobody a second delivery. After that they are safer with their senders, who try for days.
const recordPatience = time.Minute

// recordDown says why the record has taken nothing for recordPatience, or nil: from the first thing it takes again.
func (n *Node) recordDown() error {
	return down(time.Now(), n.projector.Status().ErrSince, n.feedback.Stuck())
}

// down says since when something fails, if that is longer than recordPatience. Zero times are of what does not fail.
func down(now time.Time, since ...time.Time) error {
	for _, t := range since {
		if !t.IsZero() && now.Sub(t) >= recordPatience {
			return fmt.Errorf("the record has taken nothing since %s", t.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// PutInbox is Spool.PutInbox; without space for the record it returns spool.ErrDiskFull.
func (i *inbox) PutInbox(ctx context.Context, e spool.InboxEntry) (uint64, error) {
	if err := i.mayGrow(); err != nil {
		return 0, fmt.Errorf("%w: %w", spool.ErrDiskFull, err)
	}
	return i.Spool.PutInbox(ctx, e)
}

// Space is Spool.Space; Low says also that the record does not grow.
func (i *inbox) Space() spool.Space {
	s := i.Spool.Space()
	s.Low = s.Low || i.mayGrow() != nil
	return s
}
