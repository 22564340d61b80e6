"""Builds the TensorRT plan of the model, on the device that will run it.

    python3 convert.py [--fp32] [--workspace-mib 512]

FP16 is asked for in the way of each version of TensorRT: by a flag, or, where that is gone, by an ONNX file in FP16.
Takes minutes on a small device; the plan fits this GPU and this version of TensorRT only.
"""

import argparse
import json
import sys

from card import CannotRun, has, input_shape, load_card, path_of
from cuda import Cuda
from engines import HALF_ONNX, OLD_ONNX, ONNX, PLAN, PLAN_NOTE, import_tensorrt, make_logger, version_of

OLDEST, TYPED = (8, 2), (10, 12)
TIMINGS = "timing.cache"


def choose_file(tensorrt, half):
    """Return the ONNX file for a version of TensorRT, and whether its precision is a flag of the builder."""
    version = version_of(tensorrt)
    if version < OLDEST:
        raise CannotRun("TensorRT {}.{} is too old; 8.2 (JetPack 4.6) is the oldest.".format(*version))
    if version >= TYPED and half and has(HALF_ONNX):
        return HALF_ONNX, False
    # Without that file the flag serves as long as it is there, though it is said to go.
    has_flag = version < TYPED or (half and hasattr(tensorrt.BuilderFlag, "FP16"))
    # TensorRT 8 reads opset 13 in all its versions, and newer ones in part.
    return (OLD_ONNX if version[0] < 10 and has(OLD_ONNX) else ONNX), has_flag


def build(tensorrt, card, half, workspace_bytes):
    """Return the plan's bytes and the precision that it has."""
    version = version_of(tensorrt)
    name, has_flag = choose_file(tensorrt, half)
    logger = make_logger(tensorrt)
    builder = tensorrt.Builder(logger)
    flags = 0
    if version[0] < 10:
        flags = 1 << int(tensorrt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    elif not has_flag:
        flags = 1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parse(tensorrt, network, logger, name)
    config = builder.create_builder_config()
    if version >= (8, 4):
        config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, workspace_bytes)
    else:
        config.max_workspace_size = workspace_bytes
    if half and has_flag:
        config.set_flag(tensorrt.BuilderFlag.FP16)
    elif not half:
        config.clear_flag(tensorrt.BuilderFlag.TF32)  # its products have ten bits only
    profile = builder.create_optimization_profile()
    shape = (1, *input_shape(card))
    profile.set_shape(card["input_name"], shape, shape, shape)
    config.add_optimization_profile(profile)
    cache = use_timing_cache(config)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise CannotRun("TensorRT cannot build the plan; the lines above say why. Try --fp32 or more --workspace-mib.")
    path_of(TIMINGS).write_bytes(bytes(cache.serialize()))
    is_half = half and (has_flag or name == HALF_ONNX)
    if half and not is_half:
        print(f"This TensorRT takes FP16 from the ONNX file alone, and {HALF_ONNX} is not here: FP32 is built.")
    return bytes(plan), "fp16" if is_half else "fp32"


def use_timing_cache(config):
    """Give a build what earlier ones measured on this GPU; makes the second build a matter of seconds."""
    cache = config.create_timing_cache(path_of(TIMINGS).read_bytes() if has(TIMINGS) else b"")
    if not config.set_timing_cache(cache, False):  # of another GPU or version
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def parse(tensorrt, network, logger, name):
    """Read an ONNX file into a network."""
    parser = tensorrt.OnnxParser(network, logger)
    if parser.parse(path_of(name).read_bytes()):
        return
    errors = "; ".join(parser.get_error(n).desc() for n in range(parser.num_errors))
    hint = "" if name == OLD_ONNX else " A model exported with opset 13 is what old versions read."
    raise CannotRun(f"TensorRT {tensorrt.__version__} cannot read {name}: {errors}.{hint}")


def convert(tensorrt, gpu, half=True, workspace_bytes=512 << 20):
    """Build the plan and write it with a note of what it was built for."""
    card = load_card()
    if has(PLAN_NOTE):
        path_of(PLAN_NOTE).unlink()
    print(f"Building for {gpu} with TensorRT {tensorrt.__version__}; this takes a while ...")
    plan, precision = build(tensorrt, card, half, workspace_bytes)
    note = {"tensorrt": tensorrt.__version__, "gpu": gpu, "model": card["onnx_sha256"], "precision": precision}
    # A plan without its note is not loaded, so whatever happens between these lines does no harm.
    path_of(PLAN).write_bytes(plan)
    path_of(PLAN_NOTE).write_text(json.dumps(note, indent=1), encoding="utf-8")
    print(f"{PLAN}: {len(plan) / 2.0**20:.1f} MiB, {precision}")
    return note


def main(argv=None):
    """Run the command; returns the process's exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fp32", action="store_true", help="full precision, about half as fast")
    parser.add_argument("--workspace-mib", type=int, default=512, help="GPU memory for trials (default 512)")
    arguments = parser.parse_args(argv)
    try:
        convert(import_tensorrt(), Cuda().name, not arguments.fp32, arguments.workspace_mib << 20)
    except CannotRun as error:
        print(f"convert: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
