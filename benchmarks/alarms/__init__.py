"""False alarms: the checks on correct implementations by others, `python -m benchmarks.alarms`.

An alarm is a check of level `paper` that an implementation fails. Checks of the other levels hold implementations
against what most of them do; those that fail are listed apart, since there libraries differ.
"""
