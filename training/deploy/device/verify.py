"""Compares the engine with the reference: logits that ONNX Runtime gave on the same inputs when the model was made.

    python3 verify.py [--engine opencv]

An engine may serve when no probability differs by 0.005 or more, and the Dice of what it segments by less than 0.003.
"""

import argparse
import sys

import numpy as np
from card import CannotRun, load_card, path_of
from engines import ENGINES, open_engine
from labels import MAX_DICE_DIFFERENCE, MAX_PROBABILITY_DIFFERENCE, agreement


def verify(engine, card):
    """Return whether the engine may serve; prints how far it is from the reference."""
    with np.load(str(path_of("reference.npz"))) as reference:
        images, wanted = reference["image"].astype(np.float32), reference["logits"].astype(np.float32)
    found = np.concatenate([engine.infer(np.ascontiguousarray(images[n : n + 1])) for n in range(len(images))])
    probability, dice = agreement(found, wanted, card)
    passes = probability < MAX_PROBABILITY_DIFFERENCE and dice < MAX_DICE_DIFFERENCE
    print(f"engine:      {engine.name}")
    print(f"inputs:      {len(images)}")
    print(f"probability: {probability:.2g} apart at most (less than {MAX_PROBABILITY_DIFFERENCE:g} is allowed)")
    print(f"Dice:        {dice:.2g} apart (less than {MAX_DICE_DIFFERENCE:g} is allowed)")
    print("PASSED" if passes else "FAILED: do not use this engine; try convert.py --fp32")
    return passes


def main(argv=None):
    """Run the command; returns the process's exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=ENGINES, default="tensorrt")
    arguments = parser.parse_args(argv)
    try:
        card = load_card()
        return 0 if verify(open_engine(arguments.engine, card), card) else 1
    except CannotRun as error:
        print(f"verify: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
