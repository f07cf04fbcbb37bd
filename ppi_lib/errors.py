"""The two exceptions whose message is all that a user needs."""


class _Brief(Exception):
    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in place of a traceback."""
        return [f"\x1b[31m{type(self).__name__}\x1b[0m: {self}"]


class InputError(_Brief, ValueError):
    """What the user gave can't be used.

    The message names the thing, what was got, what was expected and the way out. The command line
    prints it as one line and ends with status 2; a notebook shows it without the way to the line that found it.
    """


class Interrupted(_Brief):
    """A training was interrupted by hand; the message says what is kept, and how to go on."""
