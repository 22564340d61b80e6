"""A study looked at by a chain of agents: read, triaged, segmented, measured, criticised and reported.

Agents are plain functions behind one interface (`agent.Agent`); the chain (`chain`) runs them one after the other and
writes down what each was given, what it found, how long it took and how sure it is. Nothing here knows DICOM: its
reader and its writer of objects come from `dicom_gateway.diagnosis`, put in by the command line.

Research use only. Nothing that is found here is a diagnosis; the folder is named after what a reader would do with it.
"""
