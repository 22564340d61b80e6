"""The viewer under ROS 2: pictures, surface and points of the series that arrives, and the application in the browser.

It keeps nothing of series that it could not have again: after a restart the gateway replays the series that are open,
and the last result, which its topic keeps, brings back the last tumour.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroscan_msgs.msg import Segmentation
from rcl_interfaces.msg import ParameterDescriptor

from neuroscan_core.config import NodeConfig, save_config
from neuroscan_core.inference.bundle import find_cards
from neuroscan_core.process import PICTURES_WAIT
from neuroscan_core.viewer.process import Viewer
from neuroscan_core.viewer.scene import Scene
from neuroscan_ros import qos
from neuroscan_ros.colours import LabelColours
from neuroscan_ros.display import Display
from neuroscan_ros.mask_relay import MaskRelay
from neuroscan_ros.role_node import RoleNode, run
from neuroscan_ros.screen import Screen
from neuroscan_ros.spinning import QuickCallbackGroup

if TYPE_CHECKING:
    from collections.abc import Callable

    from neuroscan_core.domain.model_card import ModelCard

SHOWN_SERIES = "shown_series"
CONFIG_FILE = "configuration-of-workers.yaml"


class ViewerNode(RoleNode):
    """Lifecycle of `display.Display` and of `neuroscan_core.viewer.process.Viewer`.

    Attributes
    ----------
    page : Viewer or None
        The application in the browser, while active and where it is enabled.
    """

    name = "viewer_node"
    niceness = PICTURES_WAIT

    page: Viewer | None = None
    _cards: Mapping[str, ModelCard]
    _screen: Screen | None = None
    _display: Display | None = None
    _stop: Callable[[], None] | None = None

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        descriptor = ParameterDescriptor(
            description="SeriesInstanceUID of the only series to show; taken up when the node is activated.",
            additional_constraints="empty: the series that was opened last",
        )
        self.declare_parameter(SHOWN_SERIES, "", descriptor)

    def prepare(self, config: NodeConfig) -> None:
        """Read names and colours of labels from the models' cards."""
        self._cards = find_cards(config.segmenter.models_dir)
        self._screen = Screen(self, LabelColours(self._cards))

    def begin(self) -> None:
        """Show what comes."""
        assert self._screen is not None
        with ExitStack() as opened:
            relay = MaskRelay() if self.config.viewer.enabled else None
            scene = Scene(str(self.get_parameter(SHOWN_SERIES).value))
            if relay is not None:
                # The workers that the page starts are no nodes: they read a file.
                file = (self.config.viewer.directory or Path()) / CONFIG_FILE
                save_config(self.config, file)
                command = (sys.executable, "-m", "neuroscan_core.cli")
                self.page = Viewer(
                    self.config.viewer,
                    self.bus,
                    relay,
                    cards=self._cards,
                    segment_command=(*command, "segment-case", "-c", str(file)),
                    diagnose_command=(*command, "diagnose", "-c", str(file)),
                )
                opened.callback(self.page.stop)
                self.page.start()
            display = Display(self.bus, self._screen, scene, relay=relay)
            opened.callback(display.stop)
            display.start()
            # A subscription of its own: that of the bus begins now, and this one with the results that are kept.
            results = self.create_subscription(
                Segmentation,
                qos.SEGMENTATIONS,
                display.take_result,
                qos.latched(qos.SEGMENTATIONS_KEPT),
                callback_group=QuickCallbackGroup(),
            )
            opened.callback(self.destroy_subscription, results)
            self._display, self._stop = display, opened.pop_all().close

    def drain(self) -> None:
        """Stop; what was shown last stays."""
        stop, self._stop, self._display, self.page = self._stop, None, None, None
        if stop is not None:
            stop()

    def release(self) -> None:
        """Stop publishing."""
        screen, self._screen = self._screen, None
        if screen is not None:
            screen.close()

    def health(self) -> tuple[bool, Sequence[str], Mapping[str, str]]:
        """What is shown, and whether something was missed."""
        display = self._display
        if display is None:
            return False, ["The viewer is stopped."], {}
        return True, display.problems(), display.figures()


def main() -> None:
    """Entry point of the executable."""
    run(ViewerNode)
