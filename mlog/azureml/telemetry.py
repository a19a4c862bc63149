"""Diagnostics that scripts switch on or off: nothing is sent anywhere."""

__all__ = ["set_diagnostics_collection"]


def set_diagnostics_collection(
    send_diagnostics: bool = True, verbosity: int = 20
) -> None:
    """Do nothing: there is nobody to send diagnostics to."""
