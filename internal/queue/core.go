package queue

type core struct{ opt Options }
