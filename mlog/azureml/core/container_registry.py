"""`ContainerRegistry`: where an image would be fetched from; none is."""

from dataclasses import dataclass, field

__all__ = ["ContainerRegistry"]


@dataclass
class ContainerRegistry:
    """Labels for `environment.docker.base_image_registry`; never stored."""

    address: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    registry_identity: object = None
