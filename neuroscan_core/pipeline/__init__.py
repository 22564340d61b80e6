"""From slices to label maps: pure functions and small classes, used by the node and by training."""
