"""The one exception that every floor raises for bad input."""


class InputError(ValueError):
    """What the user gave can't be used.

    The message names the thing, what was got, what was expected and the way out. The command line
    prints it as one line and ends with status 2.
    """
