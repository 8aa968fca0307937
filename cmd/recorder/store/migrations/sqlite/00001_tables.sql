-- +goose Up
-- All times are Unix milliseconds, UTC. The tables device, stream and reading are a promise:
-- users write queries against them.
CREATE TABLE device (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,  -- the MQTT client ID
    first_seen INTEGER NOT NULL       -- when it was registered
);

-- The latest status of each device.
CREATE TABLE device_status (
    device_id    INTEGER PRIMARY KEY REFERENCES device (id),
    online       BOOLEAN,
    online_since INTEGER,  -- when online last changed
    version      TEXT,
    boot         TEXT,
    hardware     TEXT,
    health_at    INTEGER,  -- of the heartbeat with the values below
    backlog      INTEGER,
    oldest       REAL,     -- age of the oldest unsent reading in seconds
    dropped      INTEGER,
    clock        TEXT,
    written      INTEGER,
    faults       TEXT      -- JSON list of streams
);

CREATE TABLE stream (
    id        INTEGER PRIMARY KEY,
    device_id INTEGER NOT NULL REFERENCES device (id),
    name      TEXT NOT NULL,
    UNIQUE (device_id, name)
);

CREATE TABLE reading (
    stream_id   INTEGER NOT NULL REFERENCES stream (id),
    boot        TEXT,              -- NULL, like seq, for publishers without keys
    seq         INTEGER,
    ts          INTEGER NOT NULL,  -- of the measurement
    received_at INTEGER NOT NULL,  -- of the first copy
    value       REAL,
    state       TEXT,
    unit        TEXT,
    error       TEXT,
    clock       TEXT,              -- NULL: synchronised; estimated, unsynced
    historical  BOOLEAN NOT NULL
);
CREATE UNIQUE INDEX reading_key ON reading (stream_id, boot, seq);
CREATE INDEX reading_time ON reading (stream_id, ts);

-- The highest sequence number of each boot.
CREATE TABLE sequence (
    stream_id INTEGER NOT NULL REFERENCES stream (id),
    boot      TEXT NOT NULL,
    last_seq  INTEGER NOT NULL,
    last_at   INTEGER NOT NULL,  -- when last_seq arrived
    PRIMARY KEY (stream_id, boot)
) WITHOUT ROWID;

-- Numbers that are missing, were filled later, or were declared lost by the agent.
CREATE TABLE gap (
    id         INTEGER PRIMARY KEY,
    stream_id  INTEGER NOT NULL REFERENCES stream (id),
    boot       TEXT NOT NULL,
    from_seq   INTEGER NOT NULL,
    to_seq     INTEGER NOT NULL,
    count      INTEGER NOT NULL,  -- may be less than the range if the gap is declared
    state      TEXT NOT NULL,     -- missing, filled, declared
    why        TEXT,              -- of a declared gap: dropped, thinned, damaged, aside, unproven
    noticed_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    before_at  INTEGER,           -- when the reading before it arrived; NULL: there is none
    after_at   INTEGER            -- when the reading after it arrived
);
CREATE INDEX gap_range ON gap (stream_id, boot, from_seq);

CREATE TABLE event (
    id          INTEGER PRIMARY KEY,
    device_id   INTEGER NOT NULL REFERENCES device (id),
    boot        TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    ts          INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    event       TEXT NOT NULL,
    details     TEXT NOT NULL,  -- the whole JSON object
    UNIQUE (device_id, boot, seq)
);

-- Messages that cannot be stored; the oldest are deleted above a limit.
CREATE TABLE quarantine (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    received_at INTEGER NOT NULL,
    topic       TEXT NOT NULL,
    reason      TEXT NOT NULL,
    detail      TEXT NOT NULL,
    size        INTEGER NOT NULL,
    payload     BLOB NOT NULL  -- the first 1024 bytes
);

-- Boots of agents, from their birth messages.
CREATE TABLE boot (
    device_id      INTEGER NOT NULL REFERENCES device (id),
    boot           TEXT NOT NULL,
    seen_at        INTEGER NOT NULL,
    before_session BOOLEAN NOT NULL,  -- it began before the broker kept a session for us
    PRIMARY KEY (device_id, boot)
);

-- Each connection to the broker.
CREATE TABLE connection (
    at      INTEGER NOT NULL,
    fresh   BOOLEAN NOT NULL,   -- the broker had no session for us
    started BOOLEAN NOT NULL  -- the first one since the recorder started
);
CREATE INDEX connection_at ON connection (at);

CREATE TABLE reading_hour (
    stream_id INTEGER NOT NULL REFERENCES stream (id),
    ts        INTEGER NOT NULL,  -- the begin of the hour
    n         INTEGER NOT NULL,  -- readings with a value
    errors    INTEGER NOT NULL,
    min       REAL,
    max       REAL,
    sum       REAL,
    PRIMARY KEY (stream_id, ts)
) WITHOUT ROWID;

CREATE TABLE reading_day (
    stream_id INTEGER NOT NULL REFERENCES stream (id),
    ts        INTEGER NOT NULL,  -- the begin of the day, UTC
    n         INTEGER NOT NULL,
    errors    INTEGER NOT NULL,
    min       REAL,
    max       REAL,
    sum       REAL,
    PRIMARY KEY (stream_id, ts)
) WITHOUT ROWID;

-- Hours whose reading_hour must be computed again.
CREATE TABLE dirty_hour (
    stream_id INTEGER NOT NULL,
    ts        INTEGER NOT NULL,
    PRIMARY KEY (stream_id, ts)
) WITHOUT ROWID;

-- Counts of messages by outcome, and the horizon: retain has deleted the readings before it, and
-- their hours are not computed again.
CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

-- +goose Down
DROP TABLE counter;
DROP TABLE dirty_hour;
DROP TABLE reading_day;
DROP TABLE reading_hour;
DROP TABLE connection;
DROP TABLE boot;
DROP TABLE quarantine;
DROP TABLE event;
DROP TABLE gap;
DROP TABLE sequence;
DROP TABLE reading;
DROP TABLE stream;
DROP TABLE device_status;
DROP TABLE device;
