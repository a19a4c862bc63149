"""`ResourceConfiguration`: what a registered model would get in a web service."""

from dataclasses import dataclass

__all__ = ["ResourceConfiguration"]


@dataclass
class ResourceConfiguration:
    """Labels for `Model.register`; not used."""

    cpu: float | None = None
    memory_in_gb: float | None = None
    gpu: int | None = None
