CREATE TABLE IF NOT EXISTS {{table}} (
	consumer   TEXT    NOT NULL,
	event_id   TEXT    NOT NULL,
	handled_at INTEGER NOT NULL DEFAULT ({{now}}), -- microseconds since 1970
	PRIMARY KEY (consumer, event_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS {{table_handled}} ON {{table}} (handled_at);
