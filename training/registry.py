"""Networks and losses are built by name, with the arguments of their constructors as options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from neuroscan_core.domain.errors import ModelError


def build(
    what: str,
    factories: Mapping[str, Callable[..., nn.Module]],
    name: str,
    options: Mapping[str, Any],  # they differ by factory
    error: type[ModelError],
) -> nn.Module:
    """Build what has a name; raise `error` where nothing has it, or it has no such option.

    Parameters
    ----------
    what : str
        What the factories make, for the message: ``network`` or ``loss``.
    """
    if name not in factories:
        raise error(f"There is no {what} {name!r}.", remedy=f"Known are {', '.join(sorted(factories))}.")
    known = list(inspect.signature(factories[name]).parameters)
    if unknown := sorted(set(options) - set(known)):
        raise error(
            f"The {what} {name} has no option {', '.join(unknown)}.", remedy=f"It has {', '.join(known) or 'none'}."
        )
    return factories[name](**options)
