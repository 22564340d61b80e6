"""Training of one network: configuration, loop, validation, resumption, loggers.

Data, augmentation, networks and losses have packages of their own. Nothing is
imported here, so that reading a configuration needs no PyTorch.
"""
