"""Writes a Triton model repository: one folder per bundle, with `config.pbtxt` and the network.

Keys of `config.pbtxt` are those of `model_config.proto` in triton-inference-server/common. The server itself, and what
speaks to it, are elsewhere.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neuroscan_core.domain.errors import NeuroScanError
from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.inference.bundle import Bundle
from neuroscan_core.inference.triton import SHA256_PARAMETER

CONFIG_FILE, ONNX_FILE, PLAN_FILE, LABELS_FILE = "config.pbtxt", "model.onnx", "model.plan", "labels.txt"
BUILD_SCRIPT = "build_plans.sh"
VERSION = "1"
PLATFORMS = {"onnxruntime": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}
DEVICES = {"auto": "KIND_AUTO", "cpu": "KIND_CPU", "gpu": "KIND_GPU"}
MAX_VOLUMES = 2  # a patch of 128^3 with four channels is 32 MiB, its activations some GiB


class RepositoryError(NeuroScanError, ValueError):
    """A model repository cannot be written as asked."""


@dataclass(frozen=True)
class RepositoryOptions:
    """How the server shall run the models.

    Parameters
    ----------
    platform : str
        ``onnxruntime``, or ``tensorrt`` for plans that are built on the serving machine.
    device : str
        ``auto`` (a GPU where the server has one), ``cpu`` or ``gpu``.
    num_instances : int
        Copies of each model that run at once.
    max_batch : int
        Most inputs that run together; with 1 a result cannot depend on what else the server is asked.
    queue_delay_us : int
        Longest wait, in microseconds, for others to share a batch with.
    """

    platform: str = "onnxruntime"
    device: str = "auto"
    num_instances: int = 1
    max_batch: int = 16
    queue_delay_us: int = 1000

    def __post_init__(self) -> None:
        if self.platform not in PLATFORMS or self.device not in DEVICES:
            raise RepositoryError(
                f"There is no platform {self.platform} for the device {self.device}.",
                remedy=f"Platforms: {', '.join(PLATFORMS)}; devices: {', '.join(DEVICES)}.",
            )
        if self.platform == "tensorrt" and self.device == "cpu":
            raise RepositoryError("TensorRT runs on a GPU only.", remedy="Use the platform onnxruntime.")
        if min(self.num_instances, self.max_batch) < 1 or self.queue_delay_us < 0:
            raise RepositoryError("Instances and batch are 1 or more, and the delay is not negative.")

    def batch_limit(self, card: ModelCard) -> int:
        """Most inputs of a model that run together."""
        return min(self.max_batch, MAX_VOLUMES) if card.kind is ModelKind.VOLUME3D else self.max_batch


def write_repository(bundles: Sequence[Bundle], folder: Path, options: RepositoryOptions | None = None) -> list[Path]:
    """Write each bundle's folder; other folders of the repository stay as they are.

    Returns
    -------
    list of Path
        The folders, named like the bundles.

    Raises
    ------
    RepositoryError
        Two bundles have the same name, or there is none.
    """
    options = options or RepositoryOptions()
    names = [bundle.card.name for bundle in bundles]
    if not names or len(set(names)) != len(names):
        raise RepositoryError(f"A repository needs bundles of different names, not {names}.")
    folders = [_write_model(bundle, folder / bundle.card.name, options) for bundle in bundles]
    if options.platform == "tensorrt":
        script = folder / BUILD_SCRIPT
        script.write_text(_build_script([bundle.card for bundle in bundles], options), encoding="utf-8")
        script.chmod(0o755)
    return folders


def _write_model(bundle: Bundle, folder: Path, options: RepositoryOptions) -> Path:
    version = folder / VERSION
    version.mkdir(parents=True, exist_ok=True)
    # A server that polls must never see the new configuration with half a network.
    network = version / ONNX_FILE if options.platform == "onnxruntime" else folder / ONNX_FILE
    partial = network.with_suffix(".part")
    shutil.copyfile(bundle.onnx_path, partial)
    partial.replace(network)
    (folder / LABELS_FILE).write_text("".join(f"{name}\n" for name in output_names(bundle.card)), encoding="utf-8")
    (folder / CONFIG_FILE).write_text(model_config(bundle.card, options), encoding="utf-8")
    return folder


def output_names(card: ModelCard) -> list[str]:
    """What each output channel stands for, in order."""
    if card.kind is ModelKind.CLASSIFIER:
        return [entry.name for entry in card.classes]
    if card.kind is ModelKind.VOLUME3D:
        return [region.name for region in card.regions]
    background = ["background"] if card.kind is ModelKind.MULTIMODAL2D else []
    return background + [label.name for label in card.labels]


def model_config(card: ModelCard, options: RepositoryOptions) -> str:
    """Return the text of `config.pbtxt` for a model."""
    limit = options.batch_limit(card)
    warm_up = "".join(_warm_up(card, size) for size in sorted({1, limit}))
    return f"""\
# {card.name} {card.version}: {card.task}. Licence: {" ".join(card.licence.split())}
name: "{card.name}"
platform: "{PLATFORMS[options.platform]}"
max_batch_size: {limit}
input [ {{ name: "{card.input_name}" data_type: TYPE_FP32 dims: {_dims(card.input_shape)} }} ]
output [ {{ name: "{card.output_name}" data_type: TYPE_FP32 dims: {_dims(card.output_shape)} label_filename: "{LABELS_FILE}" }} ]
version_policy {{ latest {{ num_versions: 1 }} }}
instance_group [ {{ kind: {DEVICES[options.device]} count: {options.num_instances} }} ]
{_batching(limit, options.queue_delay_us)}{_threads(options)}parameters {{ key: "{SHA256_PARAMETER}" value {{ string_value: "{card.onnx_sha256}" }} }}
{warm_up}"""  # noqa: E501 - one line per key


def _dims(shape: Sequence[int]) -> str:
    return f"[ {', '.join(str(length) for length in shape)} ]"


def _batching(limit: int, delay_us: int) -> str:
    if limit == 1:
        return ""
    preferred = sorted({limit, max(2, limit // 2)})
    return f"dynamic_batching {{ preferred_batch_size: {_dims(preferred)} max_queue_delay_microseconds: {delay_us} }}\n"


def _threads(options: RepositoryOptions) -> str:
    """Several copies on a processor would fight for its cores with all of ONNX Runtime's threads each."""
    if options.platform != "onnxruntime" or options.num_instances == 1:
        return ""
    return 'parameters { key: "intra_op_thread_count" value { string_value: "1" } }\n'


def _warm_up(card: ModelCard, batch: int) -> str:
    return (
        f'model_warmup [ {{ name: "batch-of-{batch}" batch_size: {batch} inputs {{ key: "{card.input_name}" '
        f"value {{ data_type: TYPE_FP32 dims: {_dims(card.input_shape)} zero_data: true }} }} }} ]\n"
    )


def _build_script(cards: Sequence[ModelCard], options: RepositoryOptions) -> str:
    """Shell script that builds the plans; a plan fits one GPU type and one version of TensorRT."""
    lines = []
    for card in cards:
        limit = options.batch_limit(card)
        shape = "x".join(str(length) for length in card.input_shape)
        sizes = " ".join(
            f"--{name}Shapes={card.input_name}:{size}x{shape}"
            for name, size in (("min", 1), ("opt", max(1, limit // 2)), ("max", limit))
        )
        lines.append(f"build {card.name} {sizes}\n")
    return _BUILD_HEAD + "".join(lines)


_BUILD_HEAD = f"""\
#!/bin/sh
# Builds the plans of this repository. Run it on the machine that serves, inside the server's container, whose TensorRT
# is the one that will load them:
#   docker run --rm --gpus all -v "$PWD":/models nvcr.io/nvidia/tritonserver:XX.YY-py3 sh /models/{BUILD_SCRIPT}
set -eu
cd "$(dirname "$0")"
trtexec=$(command -v trtexec || echo /usr/src/tensorrt/bin/trtexec)
# From TensorRT 11 on, precision comes from the ONNX file alone, and the flag is gone.
half=$("$trtexec" --help 2>&1 | grep -q -e '--fp16' && echo --fp16 || true)
build() {{
    name=$1
    shift
    "$trtexec" --onnx="$name/{ONNX_FILE}" --saveEngine="$name/{VERSION}/{PLAN_FILE}.part" $half "$@"
    mv "$name/{VERSION}/{PLAN_FILE}.part" "$name/{VERSION}/{PLAN_FILE}"
}}
"""
