-- Ids of items are handed out in the order of the operations: sorting by id is insertion order.
CREATE SEQUENCE store.item_id;

-- Namespaces compare label by label in code point order (collation C), the order in which clients list them; and
-- every namespace below {a,b} lies between {a,b} and {a,b || chr(1)}, so that a prefix is one range of the index.
CREATE TABLE store.item (
    id bigint PRIMARY KEY DEFAULT nextval('store.item_id'),
    namespace text[] COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    -- json, not jsonb: clients get their keys back in the order in which they wrote them.
    value json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    ttl_minutes double precision,
    expires_at timestamptz,
    CONSTRAINT item_namespace_has_labels CHECK (cardinality(namespace) > 0 AND array_ndims(namespace) = 1),
    CONSTRAINT item_value_is_object CHECK (json_typeof(value) = 'object'),
    CONSTRAINT item_ttl_is_positive CHECK (ttl_minutes > 0),
    CONSTRAINT item_ttl_has_end CHECK ((ttl_minutes IS NULL) = (expires_at IS NULL)),
    CONSTRAINT item_identity UNIQUE (namespace, key)
);

ALTER SEQUENCE store.item_id OWNED BY store.item.id;

-- Serves equality conditions of searches; comparisons are checked row by row.
CREATE INDEX item_value ON store.item USING gin ((value::jsonb) jsonb_path_ops);
-- Serves the sweeper.
CREATE INDEX item_expires_at ON store.item (expires_at) WHERE expires_at IS NOT NULL;

-- A namespace from its JSON array; arrays of arrays of unequal length have no type in Postgres.
CREATE FUNCTION store.labels(namespace json) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY(SELECT json_array_elements_text(namespace));

-- The smallest namespace after `namespace` that does not repeat its first `depth` labels (all of them: null);
-- null when there is none, at depth 0. Labels are never empty, so {a,''} directly follows {a}.
CREATE FUNCTION store.following(namespace text[], depth int) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN depth = 0 THEN NULL
    WHEN depth <= cardinality(namespace)
        THEN namespace[1 : depth - 1] || (namespace[depth] || chr(1))
    ELSE namespace || ''::text
END;

-- Whether a namespace begins with `prefix` and ends with `suffix`; `*` stands for any one label.
CREATE FUNCTION store.matches(namespace text[], prefix text[], suffix text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN cardinality(namespace) >= greatest(cardinality(prefix), cardinality(suffix))
    AND NOT EXISTS (
        SELECT FROM unnest(prefix) WITH ORDINALITY AS wanted(label, position)
        WHERE wanted.label <> '*' AND wanted.label <> namespace[wanted.position]
    )
    AND NOT EXISTS (
        SELECT FROM unnest(suffix) WITH ORDINALITY AS wanted(label, position)
        WHERE wanted.label <> '*'
            AND wanted.label <> namespace[cardinality(namespace) - cardinality(suffix) + wanted.position]
    );

-- Whether `found` stands in a relation (eq, ne, gt, gte, lt, lte) to `operand`. Order exists between two numbers
-- and between two strings (by code point); all else is unordered, so that no such condition holds.
CREATE FUNCTION store.compares(found jsonb, operator text, operand jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN operator = 'eq' THEN found = operand
    WHEN operator = 'ne' THEN found <> operand
    WHEN jsonb_typeof(found) = 'number' AND jsonb_typeof(operand) = 'number' THEN
        CASE operator
            WHEN 'gt' THEN found > operand
            WHEN 'gte' THEN found >= operand
            WHEN 'lt' THEN found < operand
            WHEN 'lte' THEN found <= operand
        END
    WHEN jsonb_typeof(found) = 'string' AND jsonb_typeof(operand) = 'string' THEN
        CASE operator
            WHEN 'gt' THEN (found #>> '{}') COLLATE "C" > (operand #>> '{}')
            WHEN 'gte' THEN (found #>> '{}') COLLATE "C" >= (operand #>> '{}')
            WHEN 'lt' THEN (found #>> '{}') COLLATE "C" < (operand #>> '{}')
            WHEN 'lte' THEN (found #>> '{}') COLLATE "C" <= (operand #>> '{}')
        END
    ELSE false
END;

-- Whether a value meets every condition of `[{"key": …, "operator": …, "operand": …}]`; a missing key is null.
CREATE FUNCTION store.meets(value jsonb, conditions jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN NOT EXISTS (
    SELECT FROM jsonb_array_elements(conditions) AS given(condition)
    WHERE NOT store.compares(
        coalesce(meets.value -> (given.condition ->> 'key'), 'null'),
        given.condition ->> 'operator',
        given.condition -> 'operand'
    )
);
