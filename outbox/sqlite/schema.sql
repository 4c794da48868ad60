CREATE TABLE IF NOT EXISTS {{table}} (
	seq        INTEGER PRIMARY KEY AUTOINCREMENT,
	id         TEXT    NOT NULL UNIQUE,
	dedupe_id  TEXT    NOT NULL DEFAULT '',
	key        TEXT    NOT NULL DEFAULT '',
	subject    TEXT    NOT NULL,
	time       INTEGER NOT NULL, -- microseconds since 1970, as all times here
	header     BLOB    NOT NULL DEFAULT x'',
	data       BLOB    NOT NULL,
	created_at INTEGER NOT NULL,
	state      INTEGER NOT NULL DEFAULT 0, -- 0 pending, 1 waiting behind a parked one, 2 parked, 3 sent
	changed_at INTEGER,                    -- when it was parked or sent
	reason     TEXT                        -- why it is parked
);
CREATE INDEX IF NOT EXISTS {{table_pending}} ON {{table}} (seq) WHERE state = 0;
CREATE INDEX IF NOT EXISTS {{table_waiting}} ON {{table}} (key) WHERE state = 1;
CREATE INDEX IF NOT EXISTS {{table_parked}} ON {{table}} (key) WHERE state = 2;
CREATE INDEX IF NOT EXISTS {{table_sent}} ON {{table}} (changed_at) WHERE state = 3;
CREATE TABLE IF NOT EXISTS {{relay}} (
	one        INTEGER PRIMARY KEY CHECK (one = 1),
	version    INTEGER NOT NULL, -- of these tables
	holder     TEXT    NOT NULL DEFAULT '',
	epoch      INTEGER NOT NULL DEFAULT 0,
	expires_at INTEGER NOT NULL DEFAULT 0,
	generation INTEGER NOT NULL DEFAULT 1,
	published  INTEGER NOT NULL DEFAULT 0
);
INSERT OR IGNORE INTO {{relay}} (one, version) VALUES (1, 1);
