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


def configure_logging(config: LogConfig, *, process: str, sink: Any = None) -> None:
    """Set up logging of this process; call once, when it begins.

    Parameters
    ----------
    config : LogConfig
    process : str
        Named in every line.
    sink : object, optional
        Takes the lines instead of standard error by its methods ``debug``, ``info``, ``warning``, ``error`` and
        ``critical``; it adds time and severity to readable text itself. With a sink this may be called again.
    """
    colours = sink is None and sys.stderr.isatty()
    stamps: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if config.format == "json"
        else structlog.dev.ConsoleRenderer(colors=colours, pad_event_to=36 if sink is None else 0)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _naming(process),
            *(stamps if sink is None or config.format == "json" else ()),
            structlog.processors.format_exc_info,
            _refuse_patient_data,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(int(getattr(logging, config.level.upper()))),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr) if sink is None else lambda *_: sink,
        cache_logger_on_first_use=sink is None,
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
