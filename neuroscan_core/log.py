"""Structured logs: events with key-value context, JSON or readable, never with patient data.

``log = get_logger(__name__)`` then ``log.info("series complete", num_slices=155)``. Code that works on a series binds
its UID once: ``with series_context(uid): ...``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from neuroscan_core.config import LogConfig

FORBIDDEN_KEYS = frozenset({"patient_name", "patient_id", "birth_date", "PatientName", "PatientID", "PatientBirthDate"})


def _refuse_patient_data(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for key in FORBIDDEN_KEYS & event.keys():
        event[key] = "(withheld)"
    return event


def _naming(process: str) -> structlog.typing.Processor:
    """Name the process in every line; context variables would be known to the main thread only."""

    def add_process(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event.setdefault("process", process)
        return event

    return add_process


def configure_logging(config: LogConfig, *, process: str) -> None:
    """Set up logging of this process to standard error; call once, from the command line."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if config.format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=36)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _naming(process),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _refuse_patient_data,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(int(getattr(logging, config.level.upper()))),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Logger of a module."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(module=name)
    return logger


@contextmanager
def series_context(series_instance_uid: str) -> Iterator[None]:
    """Every log line inside carries the series UID."""
    with structlog.contextvars.bound_contextvars(series=series_instance_uid):
        yield
