CREATE TABLE IF NOT EXISTS {{table}} (
	consumer   text        COLLATE "C" NOT NULL,
	event_id   text        COLLATE "C" NOT NULL,
	handled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (consumer, event_id)
);
CREATE INDEX IF NOT EXISTS {{table_handled}} ON {{table}} (handled_at);
