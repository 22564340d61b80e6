"""Networks and engines side by side on one machine: accuracy, speed, size and memory, measured in turns.

`worker` is the fresh process in which one candidate runs, `measure` lets several take turns, `study` adds accuracy and
sizes, `table` writes them down.
"""
