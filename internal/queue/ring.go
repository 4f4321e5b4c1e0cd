package queue

// link is an element's place in a ring; it is part of the element, so that moving about costs no memory.
type link[T any] struct {
	prev, next *link[T]
	in         *ring[T]
	item       T
}

// ring is a circular list: a queue that can also be turned.
type ring[T any] struct {
	head *link[T]
	n    int
}

// push appends l, which must not be in a ring.
func (r *ring[T]) push(l *link[T]) {
	if r.head == nil {
		l.prev, l.next, r.head = l, l, l
	} else {
		last := r.head.prev
		l.prev, l.next = last, r.head
		last.next, r.head.prev = l, l
	}
	l.in = r
	r.n++
}

// remove takes l out of the ring it is in, if any.
func (l *link[T]) remove() {
	r := l.in
	if r == nil {
		return
	}
	if r.n == 1 {
		r.head = nil
	} else {
		l.prev.next, l.next.prev = l.next, l.prev
		if r.head == l {
			r.head = l.next
		}
	}
	l.prev, l.next, l.in = nil, nil, nil
	r.n--
}

// turn makes the second element the first.
func (r *ring[T]) turn() {
	if r.head != nil {
		r.head = r.head.next
	}
}

// all returns the elements in order, for loops that change the ring.
func (r *ring[T]) all() []T {
	items := make([]T, 0, r.n)
	for l, i := r.head, 0; i < r.n; l, i = l.next, i+1 {
		items = append(items, l.item)
	}
	return items
}
