#!/bin/sh
# Dump the books: JHUB_TOKENS_DATABASE (their owner's), BACKUP_DIR, KEEP_DAYS.
#
# A dump is written beside and renamed, so that a file of this name is always whole.
set -eu

: "${JHUB_TOKENS_DATABASE:?the URL of the books, as their owner reaches them}"
: "${BACKUP_DIR:?the folder for the dumps}"
# What SQLAlchemy writes as postgresql+psycopg://, libpq writes as postgresql://
url=postgresql://${JHUB_TOKENS_DATABASE#*://}
name=$BACKUP_DIR/books-$(date -u +%Y%m%dT%H%M%SZ).dump

pg_dump --format=custom --no-owner --file="$name.part" "$url"
pg_restore --list "$name.part" >/dev/null
mv "$name.part" "$name"
find "$BACKUP_DIR" -name 'books-*.dump' -mtime "+${KEEP_DAYS:-30}" -exec rm -- {} +
echo "$name"
