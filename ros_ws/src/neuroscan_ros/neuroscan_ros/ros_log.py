"""Where the log lines of the core go in a node: to the node's logger, so to the console, its file and /rosout."""

from __future__ import annotations

from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.logging import LoggingSeverity


class RosLog:
    """Takes the rendered lines of `neuroscan_core.log`, see `configure_logging`.

    Parameters
    ----------
    logger : RcutilsLogger
        Of the node.
    level : str
        Least severity that the configuration wants to see.
    """

    def __init__(self, logger: RcutilsLogger, level: str) -> None:
        self._logger = logger
        if level == "debug":  # else ROS has its own word, e.g. `--log-level warn`
            logger.set_level(LoggingSeverity.DEBUG)

    # One call per severity: rclpy allows no other severity from the same line.

    def debug(self, line: str) -> None:
        """For developers."""
        self._logger.debug(line)

    def info(self, line: str) -> None:
        """What happens."""
        self._logger.info(line)

    def warning(self, line: str) -> None:
        """What a person should look at."""
        self._logger.warning(line)

    def error(self, line: str) -> None:
        """What went wrong."""
        self._logger.error(line)

    def critical(self, line: str) -> None:
        """What ends the process."""
        self._logger.fatal(line)

    msg = info
    fatal = critical
    exception = error
    warn = warning
