-- What the PostgreSQL behind the gate must have in each database: the schema `sys` that DSQL shows, and the gate's own
-- schema `standin`. Run once in each database, as the server's superuser. {key_bytes} is filled in.
-- DSQL has the text search configuration `simple` and no other.
DO $$
DECLARE each text;
BEGIN
    FOR each IN SELECT cfgname FROM pg_ts_config WHERE cfgname <> 'simple' LOOP
        EXECUTE format('DROP TEXT SEARCH CONFIGURATION pg_catalog.%I', each);
    END LOOP;
END $$;

CREATE SCHEMA standin;
CREATE SCHEMA sys;
GRANT USAGE ON SCHEMA standin, sys TO PUBLIC;

CREATE TABLE standin.jobs (
    number bigint GENERATED ALWAYS AS IDENTITY,
    job_id text PRIMARY KEY,
    status text NOT NULL,
    details text,
    job_type text NOT NULL,
    class_id oid NOT NULL,
    object_id oid NOT NULL,
    object_name text,
    start_time timestamptz NOT NULL DEFAULT date_trunc('second', clock_timestamp()),
    update_time timestamptz,
    makes_unique boolean NOT NULL DEFAULT false,
    validates name
);
CREATE VIEW sys.jobs AS
    SELECT job_id, status, details, job_type, class_id, object_id, object_name, start_time, update_time
    FROM standin.jobs ORDER BY number;
GRANT SELECT ON sys.jobs TO PUBLIC;

CREATE TABLE standin.iam (arn text NOT NULL, pg_role_name name NOT NULL, grantor name NOT NULL);
CREATE VIEW sys.iam_pg_role_mappings AS
    SELECT hashtext(i.arn)::bigint::oid AS iam_oid, i.arn, r.oid AS pg_role_oid, i.pg_role_name,
        g.oid AS grantor_pg_role_oid, i.grantor AS grantor_pg_role_name
    FROM standin.iam i JOIN pg_roles r ON r.rolname = i.pg_role_name JOIN pg_roles g ON g.rolname = i.grantor;
GRANT SELECT ON sys.iam_pg_role_mappings TO PUBLIC;

CREATE FUNCTION standin.version() RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT 'PostgreSQL 16' $$;
CREATE FUNCTION standin.current_setting(name text) RETURNS text STABLE LANGUAGE sql AS $$
    SELECT CASE lower(name) WHEN 'server_version' THEN '16.15' WHEN 'server_version_num' THEN '160015'
        WHEN 'max_connections' THEN '20' ELSE pg_catalog.current_setting(name) END $$;
CREATE FUNCTION standin.current_setting(name text, missing_ok boolean) RETURNS text STABLE LANGUAGE sql AS $$
    SELECT CASE lower(name) WHEN 'server_version' THEN '16.15' WHEN 'server_version_num' THEN '160015'
        WHEN 'max_connections' THEN '20' ELSE pg_catalog.current_setting(name, missing_ok) END $$;

-- An index's access method is btree_index, and the primary key's holds every other column.
CREATE FUNCTION standin.included(index oid) RETURNS text STABLE LANGUAGE sql AS $$
    SELECT ' INCLUDE (' || string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) || ')'
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid
    WHERE i.indexrelid = index AND i.indisprimary AND a.attnum > 0 AND NOT a.attisdropped
        AND a.attnum <> ALL (i.indkey) $$;
CREATE FUNCTION standin.pg_get_indexdef(index oid) RETURNS text STABLE LANGUAGE sql AS $$
    SELECT replace(pg_catalog.pg_get_indexdef(index), ' USING btree ', ' USING btree_index ')
        || coalesce(standin.included(index), '') $$;
CREATE FUNCTION standin.pg_get_indexdef(index oid, place integer, pretty boolean) RETURNS text STABLE LANGUAGE sql AS $$
    SELECT pg_catalog.pg_get_indexdef(index, place, pretty) $$;
CREATE FUNCTION standin.pg_get_constraintdef(wanted oid) RETURNS text STABLE LANGUAGE sql AS $$
    SELECT pg_catalog.pg_get_constraintdef(wanted) || coalesce((
        SELECT standin.included(c.conindid) FROM pg_catalog.pg_constraint c WHERE c.oid = wanted AND c.contype = 'p'
    ), '') $$;
CREATE FUNCTION standin.pg_get_constraintdef(wanted oid, pretty boolean) RETURNS text STABLE LANGUAGE sql AS $$
    SELECT standin.pg_get_constraintdef(wanted) $$;
CREATE VIEW standin.pg_indexes AS
    SELECT n.nspname AS schemaname, c.relname AS tablename, i.relname AS indexname, t.spcname AS tablespace,
        standin.pg_get_indexdef(i.oid) AS indexdef
    FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
        LEFT JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_tablespace t ON t.oid = i.reltablespace
    WHERE c.relkind IN ('r', 'm', 'p') AND i.relkind IN ('i', 'I');
GRANT SELECT ON standin.pg_indexes TO PUBLIC;

CREATE VIEW standin.pg_available_extensions AS SELECT * FROM pg_catalog.pg_available_extensions WHERE false;
GRANT SELECT ON standin.pg_available_extensions TO PUBLIC;

-- Sizes. Each table has one trigger, which fires where a row may be too large; check_sizes() then looks closely.
CREATE FUNCTION standin.key_size(type oid, given text) RETURNS text IMMUTABLE LANGUAGE sql AS $$
    SELECT CASE WHEN type IN (25, 1042, 1043) THEN format('coalesce(octet_length(%s), 0)', given)
        ELSE format('coalesce(pg_column_size(%s), 0)', given) END $$;
CREATE FUNCTION standin.keys(wanted regclass) RETURNS SETOF text STABLE LANGUAGE sql AS $$
    WITH keyed AS (
        SELECT i.indexrelid, k.number FROM pg_index i, LATERAL unnest(i.indkey) WITH ORDINALITY AS k (number, place)
        WHERE i.indrelid = wanted AND k.place <= i.indnkeyatts AND k.number > 0
        UNION
        SELECT i.indexrelid, k.number FROM pg_index i, pg_index p, LATERAL unnest(p.indkey) WITH ORDINALITY AS k (number, place)
        WHERE i.indrelid = wanted AND p.indrelid = wanted AND p.indisprimary AND k.place <= p.indnkeyatts
    )
    SELECT DISTINCT string_agg(standin.key_size(a.atttypid, format('NEW.%I', a.attname)), ' + ' ORDER BY a.attnum)
        || format(' + %s', 7 * (count(*) - 1))
    FROM keyed k JOIN pg_attribute a ON a.attrelid = wanted AND a.attnum = k.number AND a.attgenerated = ''
    GROUP BY k.indexrelid $$;
CREATE FUNCTION standin.large(wanted regclass) RETURNS text STABLE LANGUAGE sql AS $$
    SELECT string_agg(standin.key_size(a.atttypid, format('NEW.%I', a.attname)), ' + ' ORDER BY a.attnum)
    FROM pg_attribute a
    WHERE a.attrelid = wanted AND a.attnum > 0 AND NOT a.attisdropped AND a.attlen = -1
        AND a.attgenerated = '' $$;

CREATE UNLOGGED TABLE standin.scratch (as_text text, as_bytea bytea, as_jsonb jsonb, as_json json);
CREATE FUNCTION standin.stored_size(kind text, given text) RETURNS integer SECURITY DEFINER LANGUAGE plpgsql AS $$
DECLARE found integer;
BEGIN
    EXECUTE format('INSERT INTO standin.scratch (%I) VALUES ($1::%s)', 'as_' || kind, kind) USING given;
    EXECUTE format('SELECT max(pg_column_size(%I)) FROM standin.scratch', 'as_' || kind) INTO found;
    DELETE FROM standin.scratch;
    RETURN found;
END $$;
CREATE FUNCTION standin.check_sizes() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    key text;
    size bigint;
    total bigint := 0;
    each record;
BEGIN
    FOR key IN SELECT standin.keys(TG_RELID) LOOP
        EXECUTE 'SELECT ' || replace(key, 'NEW.', '($1).') INTO size USING NEW;
        IF size > {key_bytes} THEN
            RAISE EXCEPTION 'key size too large' USING ERRCODE = '54000';
        END IF;
    END LOOP;
    FOR each IN
        SELECT a.attname, CASE WHEN t.typname IN ('bytea', 'jsonb', 'json') THEN t.typname ELSE 'text' END AS kind
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        WHERE a.attrelid = TG_RELID AND a.attnum > 0 AND NOT a.attisdropped AND a.attlen = -1 AND t.typname <> 'numeric'
    LOOP
        EXECUTE format('SELECT CASE WHEN octet_length(($1).%I::text) > 900000 THEN '
            'standin.stored_size(%L, ($1).%I::text) ELSE coalesce(octet_length(($1).%I::text), 0) END',
            each.attname, each.kind, each.attname, each.attname) INTO size USING NEW;
        IF size > 1048576 THEN
            RAISE EXCEPTION 'datatype limit greater than 1048576 bytes not supported for %', each.kind
                USING ERRCODE = '54000';
        END IF;
        total := total + size;
    END LOOP;
    IF total > 2097152 THEN
        RAISE EXCEPTION 'maximum row size exceeded' USING ERRCODE = '54000';
    END IF;
    RETURN NEW;
END $$;
CREATE TABLE standin.sized (relation oid PRIMARY KEY, condition text NOT NULL);
CREATE FUNCTION standin.refresh_sizes() RETURNS void SECURITY DEFINER LANGUAGE plpgsql AS $$
DECLARE each record;
BEGIN
    FOR each IN
        SELECT t.relation, t.condition
        FROM (
            SELECT c.oid AS relation, concat_ws(' OR ',
                (SELECT string_agg(k || ' > {key_bytes}', ' OR ' ORDER BY k) FROM standin.keys(c.oid) k),
                standin.large(c.oid) || ' > 900000') AS condition
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'standin', 'sys')
                AND n.nspname NOT LIKE 'pg\_%'
        ) t LEFT JOIN standin.sized s USING (relation)
        WHERE s.condition IS DISTINCT FROM t.condition AND t.condition <> ''
    LOOP
        EXECUTE format('DROP TRIGGER IF EXISTS standin_sizes ON %s', each.relation::regclass);
        EXECUTE format('CREATE TRIGGER standin_sizes BEFORE INSERT OR UPDATE ON %s FOR EACH ROW WHEN (%s) '
            'EXECUTE FUNCTION standin.check_sizes()', each.relation::regclass, each.condition);
        UPDATE pg_trigger SET tgisinternal = true WHERE tgrelid = each.relation AND tgname = 'standin_sizes';
        INSERT INTO standin.sized VALUES (each.relation, each.condition)
            ON CONFLICT (relation) DO UPDATE SET condition = EXCLUDED.condition;
    END LOOP;
END $$;

-- What a trigger names cannot be dropped or changed: before ALTER TABLE it goes, and comes back afterwards.
CREATE FUNCTION standin.forget_sizes(wanted regclass) RETURNS void SECURITY DEFINER LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP TRIGGER IF EXISTS standin_sizes ON %s', wanted);
    DELETE FROM standin.sized WHERE relation = wanted;
END $$;

-- Jobs.
CREATE FUNCTION standin.new_job_id() RETURNS text VOLATILE LANGUAGE sql AS $$
    SELECT string_agg(substr('abcdefghijklmnopqrstuvwxyz234567', 1 + floor(random() * 32)::int, 1), '')
    FROM generate_series(1, 26) $$;
CREATE FUNCTION standin.add_job(kind text, class oid, object oid, name text) RETURNS text
    SECURITY DEFINER LANGUAGE plpgsql AS $$
DECLARE made text := standin.new_job_id();
BEGIN
    DELETE FROM standin.jobs WHERE update_time < clock_timestamp() - interval '30 minutes';
    INSERT INTO standin.jobs (job_id, status, job_type, class_id, object_id, object_name)
        VALUES (made, 'submitted', kind, class, object, name);
    RETURN made;
END $$;
-- An index of a table has just been made, valid: until its job is done it is not. Without a name it is the newest. One
-- that another session has made since this transaction's snapshot is not seen here, and is that session's to make valid.
CREATE FUNCTION standin.index_job(wanted regclass, made_unique boolean, accept boolean, name text) RETURNS text
    SECURITY DEFINER LANGUAGE plpgsql AS $$
DECLARE
    index oid := coalesce(to_regclass(name), (
        SELECT max(indexrelid) FROM pg_index WHERE indrelid = wanted AND NOT indisprimary));
    made text;
BEGIN
    UPDATE pg_index SET indisvalid = false, indisunique = made_unique AND NOT accept WHERE indexrelid = index;
    made := standin.add_job('INDEX_BUILD', 1259, index, coalesce((
        SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = index), name));
    UPDATE standin.jobs SET makes_unique = made_unique WHERE job_id = made;
    RETURN made;
END $$;
-- CREATE INDEX … IF NOT EXISTS of one that is there.
CREATE FUNCTION standin.index_job_again(index regclass) RETURNS text SECURITY DEFINER LANGUAGE plpgsql AS $$
DECLARE made text := standin.add_job('INDEX_BUILD', 1259, index, index::text);
BEGIN
    UPDATE standin.jobs SET makes_unique = (SELECT indisunique FROM pg_index WHERE indexrelid = index)
        WHERE job_id = made;
    RETURN made;
END $$;
CREATE FUNCTION standin.validation_job(wanted regclass, constraint_name name) RETURNS text
    SECURITY DEFINER LANGUAGE plpgsql AS $$
DECLARE
    found oid := (SELECT oid FROM pg_constraint WHERE conrelid = wanted AND conname = constraint_name);
    made text;
BEGIN
    IF found IS NULL THEN
        RAISE EXCEPTION 'constraint "%" of relation "%" does not exist', constraint_name, wanted::text
            USING ERRCODE = '42704';
    END IF;
    made := standin.add_job('VALIDATE_CONSTRAINT', 2606, found, wanted::text);
    UPDATE standin.jobs SET validates = constraint_name, object_id = found WHERE job_id = made;
    RETURN made;
END $$;
CREATE FUNCTION standin.finish_index(job text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE work record;
BEGIN
    SELECT object_id, makes_unique INTO work FROM standin.jobs WHERE job_id = job;
    IF NOT EXISTS (SELECT 1 FROM pg_index WHERE indexrelid = work.object_id) THEN
        UPDATE standin.jobs SET status = 'completed', update_time = date_trunc('second', clock_timestamp()),
            details = format('relation "%s" does not exist', object_name) WHERE job_id = job;
        RETURN;
    END IF;
    UPDATE pg_index SET indisunique = work.makes_unique WHERE indexrelid = work.object_id;
    IF work.makes_unique AND standin.has_duplicates(work.object_id) THEN
        UPDATE standin.jobs SET status = 'failed', update_time = date_trunc('second', clock_timestamp()),
            details = 'found duplicate key(s) while validating index uniqueness' WHERE job_id = job;
    ELSE
        UPDATE pg_index SET indisvalid = true WHERE indexrelid = work.object_id;
        UPDATE standin.jobs SET status = 'completed', object_name = NULL,
            update_time = date_trunc('second', clock_timestamp()) WHERE job_id = job;
    END IF;
END $$;
CREATE FUNCTION standin.has_duplicates(index oid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    parts text;
    present text;
    condition text;
    wanted pg_index;
    found boolean;
BEGIN
    SELECT * INTO wanted FROM pg_index WHERE indexrelid = index;
    SELECT string_agg(pg_catalog.pg_get_indexdef(index, n, true), ', ' ORDER BY n),
        string_agg(format('(%s) IS NOT NULL', pg_catalog.pg_get_indexdef(index, n, true)), ' AND ' ORDER BY n)
        INTO parts, present FROM generate_series(1, wanted.indnkeyatts) n;
    condition := coalesce(pg_get_expr(wanted.indpred, wanted.indrelid), 'true');
    IF NOT wanted.indnullsnotdistinct THEN
        condition := condition || ' AND ' || present;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s WHERE %s GROUP BY %s HAVING count(*) > 1)',
        wanted.indrelid::regclass, condition, parts) INTO found;
    RETURN found;
END $$;
CREATE PROCEDURE sys.wait_for_job(job_id text, INOUT succeeded boolean DEFAULT NULL)
    SECURITY DEFINER LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF job_id !~ '^[a-z2-7]{26}$' THEN
        RAISE EXCEPTION 'Unable to convert text to UUID' USING ERRCODE = '22P02';
    END IF;
    SELECT j.status = 'completed' INTO succeeded FROM standin.jobs j WHERE j.job_id = wait_for_job.job_id;
END $$;

-- Functions that a cluster was seen to have; what they answer is not recorded.
DO $$
DECLARE each text;
BEGIN
    FOREACH each IN ARRAY ARRAY['base32_str_to_uuid(text)', 'base_type_oid(oid)', 'cluster_size()',
        'cluster_size_limit()', 'current_session_id()', 'current_transaction_id()', 'decode_job_ext_status()',
        'decode_job_statement()', 'decode_job_status()', 'dsql_major_version()', 'fetch_seq_data_tuple()',
        'get_key_desc()', 'iam_session_user()', 'job_err_msg()', 'supported_datatypes()', 'uuid_to_base32_str()'] LOOP
        EXECUTE format('CREATE FUNCTION sys.%s RETURNS text LANGUAGE sql AS $f$ SELECT NULL::text $f$', each);
    END LOOP;
END $$;
