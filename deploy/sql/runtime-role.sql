-- Once, as admin, after the migrations: the database role of the proxies and of the stream handler.
--
--   PGPASSWORD=$(aws dsql generate-db-connect-admin-auth-token --hostname "$ENDPOINT" --region "$REGION") \
--   psql "host=$ENDPOINT user=admin dbname=postgres sslmode=verify-full sslrootcert=system" \
--     --set runtime="$RUNTIME_ROLE_ARN" --set stream="$STREAM_ROLE_ARN" --file deploy/sql/runtime-role.sql
--
-- "Using database roles and IAM authentication", Aurora DSQL user guide. Again after each migration that makes a table:
-- the GRANT on all tables is of those that are there. DSQL takes one DDL statement a transaction; psql sends each by itself.
CREATE ROLE crossfade WITH LOGIN;
AWS IAM GRANT crossfade TO :'runtime';
AWS IAM GRANT crossfade TO :'stream';
GRANT USAGE ON SCHEMA public TO crossfade;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO crossfade;
