#!/bin/sh
# Bring the books back from a dump into an EMPTY database: restore.sh DUMP
#
# JHUB_TOKENS_DATABASE is the new database, as its owner reaches it. Stop the token service first;
# afterwards run `jhub-tokens migrate --grant-to ROLE` and `jhub-tokens audit`.
set -eu

dump=${1:?usage: restore.sh DUMP}
: "${JHUB_TOKENS_DATABASE:?the URL of the new, empty database, as its owner reaches it}"
url=postgresql://${JHUB_TOKENS_DATABASE#*://}

tables=$(psql "$url" --no-psqlrc --tuples-only --no-align \
    --command="SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()")
if [ "$tables" != 0 ]; then
    echo "restore.sh: the database is not empty ($tables tables): restore into a new one" >&2
    exit 1
fi
pg_restore --exit-on-error --no-owner --no-privileges --single-transaction --dbname="$url" "$dump"
echo "Restored. Now: jhub-tokens migrate --grant-to ROLE && jhub-tokens audit"
