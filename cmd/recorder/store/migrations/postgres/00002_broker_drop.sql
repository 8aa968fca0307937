-- +goose Up
-- What the broker has dropped of full queues, of all its clients. All times are Unix
-- milliseconds, UTC.
CREATE TABLE broker_drop (
    at    BIGINT NOT NULL,  -- when its number arrived, behind what it had in its queue for us
    total BIGINT NOT NULL,  -- since the broker started
    since BIGINT NOT NULL,  -- what was published before is not in count
    count BIGINT NOT NULL,
    PRIMARY KEY (at, total)
);

-- +goose Down
DROP TABLE broker_drop;
