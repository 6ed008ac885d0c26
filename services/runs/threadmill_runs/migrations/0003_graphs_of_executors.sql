-- What each executor serves: a graph is known as long as any of them does, not only the last that announced it.
ALTER TABLE runs.executor ADD COLUMN graph_ids text[] NOT NULL DEFAULT '{}';
