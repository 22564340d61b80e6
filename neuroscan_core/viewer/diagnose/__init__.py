"""Studies that people drop on the page: taken in, checked, handed to a worker process, shown, deleted.

`upload` takes in, `unpacking` opens archives, `store` keeps cases on disk, `queue` runs `neuroscan diagnose` for them
one after the other, `publish` is the worker's side, `routes` the HTTP side.
"""
