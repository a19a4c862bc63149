"""The SDK's exceptions, under their names; all are `MlogError`s.

Only few of them are ever raised here. The others exist for scripts that catch them.
"""

from mlog.errors import (
    ActivityFailedError,
    MlogError,
    ModelNotFoundError,
    ModelPathNotFoundError,
)

__all__ = [
    "ActivityFailedException",
    "AuthenticationException",
    "AzureMLException",
    "ComputeTargetException",
    "DiscoveryUrlNotFoundException",
    "ExperimentExecutionException",
    "ExperimentNotFoundException",
    "ImageException",
    "ModelNotFoundException",
    "ModelPathNotFoundException",
    "ProjectSystemException",
    "RunConfigurationException",
    "RunEnvironmentException",
    "ServiceException",
    "SnapshotException",
    "TrainingException",
    "UserErrorException",
    "WebserviceException",
    "WorkspaceException",
]


class AzureMLException(MlogError):
    """Base of the SDK's exceptions.

    Attributes:
        message: What happened, and what to do.
        inner_exception: The exception behind it, or None.
    """

    def __init__(
        self,
        exception_message: str = "",
        inner_exception: BaseException | None = None,
        **kwargs: object,
    ) -> None:
        """Take the SDK's arguments; further ones are not used."""
        super().__init__(exception_message)
        self.message = exception_message
        self.inner_exception = inner_exception


class UserErrorException(AzureMLException):
    """What was asked for cannot be done; the message says what can."""


class ActivityFailedException(AzureMLException, ActivityFailedError):
    """A run that was waited for has failed or was canceled."""


class AuthenticationException(AzureMLException):
    """There is nobody to authenticate with."""


class ComputeTargetException(AzureMLException):
    """A compute target cannot do what was asked for."""


class DiscoveryUrlNotFoundException(AzureMLException):
    """Never raised here."""


class ExperimentExecutionException(AzureMLException):
    """A script could not be started."""


class ExperimentNotFoundException(AzureMLException):
    """There is no such experiment."""


class ImageException(AzureMLException):
    """Never raised here."""


class WebserviceException(AzureMLException):
    """Raised as `ModelNotFoundException`, which the SDK gave this type."""


class ModelNotFoundException(WebserviceException, ModelNotFoundError):
    """No model of that name or version is registered."""


class ModelPathNotFoundException(AzureMLException, ModelPathNotFoundError):
    """The path of a model is no artifact of the run, or no local file."""


class ProjectSystemException(AzureMLException):
    """Never raised here."""


class RunConfigurationException(AzureMLException):
    """A configuration contradicts itself."""


class RunEnvironmentException(AzureMLException):
    """The process was not started by a launcher, and that was not allowed."""

    def __init__(
        self,
        exception_message: str = "no run was handed to this process by a launcher; "
        "submit the script, or allow_offline=True starts a run of its own",
        inner_exception: BaseException | None = None,
        **kwargs: object,
    ) -> None:
        """As `AzureMLException`."""
        super().__init__(exception_message, inner_exception, **kwargs)


class ServiceException(AzureMLException):
    """Never raised here: there is no service."""


class SnapshotException(AzureMLException):
    """A source folder is too large to be copied into the run."""


class TrainingException(AzureMLException):
    """Never raised here."""


class WorkspaceException(AzureMLException):
    """A workspace is not what was asked for."""
