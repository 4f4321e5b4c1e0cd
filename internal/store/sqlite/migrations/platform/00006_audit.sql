-- +goose Up

-- The audit log is kept for good: whoever looks for one kind, person or day should not go through all of it.
CREATE INDEX audit_kind ON audit (kind, id);
CREATE INDEX audit_actor ON audit (actor, id);
CREATE INDEX audit_at ON audit (at);
