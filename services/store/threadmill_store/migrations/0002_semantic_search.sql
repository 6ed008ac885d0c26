-- What executors say of their embedders. Vectors belong to one of these rows: what another embedder made, or the same
-- one with other dimensions or fields, cannot be compared.
CREATE TABLE store.embedder (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    identity text NOT NULL UNIQUE,
    dims int NOT NULL,
    fields text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT embedder_dims_can_be_indexed CHECK (dims BETWEEN 1 AND 4000)
);

-- One row once an executor has been heard: which embedder is in use; null: none, there is no semantic search. A store
-- that starts before any executor knows from it what it would else have to guess.
CREATE TABLE store.semantic_index (
    sole boolean PRIMARY KEY DEFAULT true,
    embedder_id int REFERENCES store.embedder (id),
    CONSTRAINT semantic_index_is_one_row CHECK (sole)
);

ALTER TABLE store.item
    -- Grows with every write. Vectors carry the version that they were made of, and others do not count: no order in
    -- which writers and embedders overtake each other can give an item the vectors of another value.
    ADD COLUMN version bigint NOT NULL DEFAULT 0,
    -- Paths whose texts are embedded; empty: none; null: those of the embedder.
    ADD COLUMN index_paths text[],
    -- Whose vectors the present version has, as far as it has texts; null: nobody's yet.
    ADD COLUMN embedder_id int;

-- Held vectors of one fixed dimension that no client ever sent. Its successor (see vectors.py) needs the extension
-- vector and is made when an executor first tells of an embedder.
DROP TABLE IF EXISTS store.item_vector;

-- Serves listings by suffix: all namespaces with one last label, in order.
CREATE INDEX item_last_label ON store.item ((namespace[cardinality(namespace)]), namespace);
