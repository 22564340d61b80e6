"""Names of the steps of the chain, and what each asks, for whoever shows them before they begin."""

from __future__ import annotations

STEPS = (
    ("reader", "What are these images, and how good are they?"),
    ("triage", "Which kind of tumour do single slices look like?"),
    ("segmenters", "Where is tumour, and do the networks agree?"),
    ("measurer", "How large is it, and where does it lie?"),
    ("critic", "Should this result be believed?"),
    ("reporter", "What does it come to?"),
)
