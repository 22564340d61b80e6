"""Several series of one study: what each shows, which belong together, and when they are segmented as one.

`facts` reads what headers say of a sequence, `roles` judges it, `choice` picks one series per role, `desk` does so in
the node as series complete. Bringing series onto one grid and segmenting them is `neuroscan_core.pipeline.study`.
"""
