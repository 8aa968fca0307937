-- +goose Up
-- Messages that the broker has dropped from full queues, for all its clients. All times are
-- Unix milliseconds, UTC.
CREATE TABLE broker_drop (
    at    BIGINT NOT NULL,  -- when the report arrived, through the broker's queue for us
    total BIGINT NOT NULL,  -- since the broker started
    since BIGINT NOT NULL,  -- when the report before it arrived
    count BIGINT NOT NULL,
    PRIMARY KEY (at, total)
);

-- +goose Down
DROP TABLE broker_drop;
