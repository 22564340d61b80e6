"""Cases: what the browser can open, a series of the node or the result of a diagnosis, behind one interface.

`case` is the interface, `store` finds cases by their opaque identifiers, `series` makes them of what the bus tells,
`folder` reads them from a folder that a worker process wrote, `routes` is the HTTP side.
"""
