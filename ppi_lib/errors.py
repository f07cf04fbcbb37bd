"""The one exception that every floor raises for bad input."""


class InputError(ValueError):
    """What the user gave can't be used.

    The message names the thing, what was got, what was expected and the way out. The command line
    prints it as one line and ends with status 2; a notebook shows it without the way to the line that found it.
    """

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in place of a traceback."""
        return [f"\x1b[31mInputError\x1b[0m: {self}"]
