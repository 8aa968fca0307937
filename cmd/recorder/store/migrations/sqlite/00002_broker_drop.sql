-- +goose Up
-- What the broker has dropped of full queues, of all its clients. All times are Unix
-- milliseconds, UTC.
CREATE TABLE broker_drop (
    at    INTEGER NOT NULL,  -- when its number arrived, behind what it had in its queue for us
    total INTEGER NOT NULL,  -- since the broker started
    since INTEGER NOT NULL,  -- what was published before is not in count
    count INTEGER NOT NULL,
    PRIMARY KEY (at, total)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE broker_drop;
