"""Adapters of the message bus (`ports.MessageBus`), and the feeds that make its events reliable."""

from neuroscan_core.config import NodeConfig
from neuroscan_core.ports import MessageBus

__all__ = ["open_bus"]


def open_bus(config: NodeConfig, role: str) -> MessageBus:
    """Open the bus of a process of the node.

    Parameters
    ----------
    config : NodeConfig
    role : str
        ``gateway``, ``segmenter`` or ``viewer``.

    Raises
    ------
    ConfigurationError
        Addresses or keys of the bus cannot be used.
    """
    from neuroscan_core.bus.zeromq import ZeroMqBus  # whoever works with the feeds alone needs no ZeroMQ

    return ZeroMqBus(role, config.bus, config.run_dir)
