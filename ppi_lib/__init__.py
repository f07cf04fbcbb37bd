"""ppi_lib: predict from sequence whether two proteins interact, and show why, in a notebook."""

__version__ = "0.1.0"
