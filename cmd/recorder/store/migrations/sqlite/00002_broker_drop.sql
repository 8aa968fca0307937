-- +goose Up
-- Messages that the broker has dropped from full queues, for all its clients. All times are
-- Unix milliseconds, UTC.
CREATE TABLE broker_drop (
    at    INTEGER NOT NULL,  -- when the report arrived, through the broker's queue for us
    total INTEGER NOT NULL,  -- since the broker started
    since INTEGER NOT NULL,  -- when the report before it arrived
    count INTEGER NOT NULL,
    PRIMARY KEY (at, total)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE broker_drop;
