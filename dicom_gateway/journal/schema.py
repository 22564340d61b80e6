"""The tables of the journal, and what is selected from them or may be changed in them."""

from __future__ import annotations

SCHEMA_VERSION = 2
SCHEMA = """
CREATE TABLE IF NOT EXISTS series (
    series_uid TEXT PRIMARY KEY, study_uid TEXT NOT NULL, state TEXT NOT NULL,
    model TEXT NOT NULL DEFAULT '', rule TEXT NOT NULL DEFAULT '', priority INTEGER NOT NULL DEFAULT 0,
    modality TEXT NOT NULL DEFAULT '', description TEXT NOT NULL DEFAULT '',
    version INTEGER NOT NULL DEFAULT 0, num_slices INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '',
    opened_at_s REAL NOT NULL, last_received_at_s REAL NOT NULL, finished_at_s REAL,
    kind TEXT NOT NULL DEFAULT 'series');
CREATE TABLE IF NOT EXISTS instances (
    id INTEGER PRIMARY KEY, sop_uid TEXT NOT NULL UNIQUE, series_uid TEXT NOT NULL, sop_class_uid TEXT NOT NULL,
    transfer_syntax_uid TEXT NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL, digest TEXT NOT NULL,
    association TEXT NOT NULL, received_at_s REAL NOT NULL, is_assembled INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS instances_of_series ON instances (series_uid);
CREATE INDEX IF NOT EXISTS unassembled ON instances (id) WHERE is_assembled = 0;
CREATE TABLE IF NOT EXISTS events (
    series_uid TEXT NOT NULL, sequence INTEGER NOT NULL, kind TEXT NOT NULL, sop_uid TEXT NOT NULL DEFAULT '',
    frame_number INTEGER NOT NULL DEFAULT 0, payload BLOB NOT NULL DEFAULT x'', PRIMARY KEY (series_uid, sequence))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS results (
    sop_uid TEXT PRIMARY KEY, series_uid TEXT NOT NULL, version INTEGER NOT NULL, kind TEXT NOT NULL,
    sop_class_uid TEXT NOT NULL, path TEXT NOT NULL, summary TEXT NOT NULL DEFAULT '', created_at_s REAL NOT NULL);
CREATE INDEX IF NOT EXISTS results_of_series ON results (series_uid, version);
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY, sop_uid TEXT NOT NULL, destination TEXT NOT NULL, state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, next_attempt_at_s REAL NOT NULL, last_error TEXT NOT NULL DEFAULT '',
    transaction_uid TEXT NOT NULL DEFAULT '', delivered_at_s REAL, committed_at_s REAL, UNIQUE (sop_uid, destination));
CREATE INDEX IF NOT EXISTS due_deliveries ON deliveries (state, next_attempt_at_s);
CREATE TABLE IF NOT EXISTS study_series (
    series_uid TEXT PRIMARY KEY, study_uid TEXT NOT NULL, studies TEXT NOT NULL, role TEXT NOT NULL, why TEXT NOT NULL,
    name TEXT NOT NULL, is_original INTEGER NOT NULL, acquired_at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS series_of_study ON study_series (study_uid);
CREATE TABLE IF NOT EXISTS audit (
    at_s REAL NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL);
"""

# From the version before each number; `SCHEMA` makes the tables that are new.
MIGRATIONS: dict[int, tuple[str, ...]] = {
    2: ("ALTER TABLE series ADD COLUMN kind TEXT NOT NULL DEFAULT 'series'",),
}

SERIES_COLUMNS = frozenset(
    {"state", "model", "rule", "priority", "modality", "description", "version", "num_slices", "reason", "message",
     "last_received_at_s", "finished_at_s"}
)  # fmt: skip
DELIVERY_COLUMNS = frozenset(
    {"state", "attempts", "next_attempt_at_s", "last_error", "transaction_uid", "delivered_at_s", "committed_at_s"}
)
SELECT_INSTANCES = "SELECT i.*, s.study_uid FROM instances i JOIN series s ON s.series_uid = i.series_uid"
SELECT_DELIVERIES = (
    "SELECT d.*, r.series_uid, r.version, r.kind, r.sop_class_uid, r.path, r.summary, r.created_at_s"
    " FROM deliveries d JOIN results r ON r.sop_uid = d.sop_uid"
)
