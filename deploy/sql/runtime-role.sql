-- Once, as admin, after the migrations: the database role of the proxies and of the stream handler.
--
--   PGPASSWORD=$(aws dsql generate-db-connect-admin-auth-token --hostname "$ENDPOINT" --region "$REGION") \
--   psql "host=$ENDPOINT user=admin dbname=postgres sslmode=verify-full sslrootcert=system" \
--     --set runtime="$RUNTIME_ROLE_ARN" --set stream="$STREAM_ROLE_ARN" --file deploy/sql/runtime-role.sql
--
-- "Using database roles and IAM authentication", Aurora DSQL user guide. Again after each migration that makes a table: the
-- grants are of the tables that are there. CREATE ROLE then says 42710, that there is one, and psql goes on. DSQL takes one DDL
-- statement a transaction, and psql sends each by itself. There is no GRANT USAGE ON SCHEMA public, which PUBLIC has already, and
-- no GRANT ON ALL TABLES IN SCHEMA public: clusters were seen to refuse both (0A000 feature not supported on system entity).
CREATE ROLE crossfade WITH LOGIN;
AWS IAM GRANT crossfade TO :'runtime';
AWS IAM GRANT crossfade TO :'stream';
SELECT format('GRANT SELECT, INSERT, UPDATE, DELETE ON public.%I TO crossfade', tablename)
FROM pg_catalog.pg_tables WHERE schemaname = 'public' ORDER BY tablename \gexec
