"""The journal: the node's only truth about series, objects, events, results and deliveries.

SQLite in WAL mode. What an acknowledgement rests on (`add_instance`, `add_results`, deliveries) is committed with
``synchronous=FULL``: a method that returns has made its change durable. Every method is one transaction and can be
called again without harm. Any thread may call; writes are serialised, and `add_instance` calls of several
associations share one commit.

Life of a series: ``receiving -> complete -> segmenting -> segmented -> delivering -> delivered -> committed ->
purged``, and ``rejected``, ``failed``, ``dead-letter``, ``ignored`` (a rule says: store only), ``collected`` (complete,
kept for the study that it belongs to). What is made of a study has a row of the same life, which begins as ``waiting``.
"""

from dicom_gateway.journal.journal import Journal
from dicom_gateway.journal.records import (
    OPEN_STATES,
    Admission,
    DeliveryRecord,
    DeliveryState,
    EventRecord,
    InstanceRecord,
    RecordKind,
    ResultRecord,
    SeriesRecord,
    SeriesState,
    StudySeriesRecord,
)
from dicom_gateway.journal.schema import SCHEMA, SCHEMA_VERSION

__all__ = [
    "OPEN_STATES",
    "SCHEMA",
    "SCHEMA_VERSION",
    "Admission",
    "DeliveryRecord",
    "DeliveryState",
    "EventRecord",
    "InstanceRecord",
    "Journal",
    "RecordKind",
    "ResultRecord",
    "SeriesRecord",
    "SeriesState",
    "StudySeriesRecord",
]
