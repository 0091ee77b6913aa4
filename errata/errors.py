"""Errors that the user can do something about."""


class ErrataError(Exception):
    """One line that names what is wrong, where, and the remedy; the command line prints it and exits with 2."""
