"""Ways to log in, accepted and ignored: local files ask for no login.

Nothing that is given to these classes is kept, passwords least of all.
"""

from typing import Any, NoReturn

from mlog.azureml.exceptions import AuthenticationException
from mlog.azureml.note import note

__all__ = [
    "AbstractAuthentication",
    "ArmTokenAuthentication",
    "AzureCliAuthentication",
    "AzureMLTokenAuthentication",
    "InteractiveLoginAuthentication",
    "MsiAuthentication",
    "ServicePrincipalAuthentication",
    "TokenAuthentication",
]


class AbstractAuthentication:
    """Base of all ways to log in."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take the SDK's arguments, and forget them."""
        text = "no login is needed for local runs; the credentials given are ignored"
        note("authentication", text)

    def get_authentication_header(self) -> NoReturn:
        """Raise: there is no service that would take a token.

        Raises:
            AuthenticationException: Always.
        """
        raise AuthenticationException(
            "there is no token: runs are local files. To call Azure itself use "
            "azure-identity"
        )

    def get_token(self, *scopes: str, **kwargs: Any) -> NoReturn:
        """Raise; see `get_authentication_header`."""
        self.get_authentication_header()


class InteractiveLoginAuthentication(AbstractAuthentication):
    """Stands for `InteractiveLoginAuthentication(force, tenant_id, cloud)`."""


class ServicePrincipalAuthentication(AbstractAuthentication):
    """Stands for a login by tenant, id and password."""


class AzureCliAuthentication(AbstractAuthentication):
    """Stands for the login of the command `az`."""


class MsiAuthentication(AbstractAuthentication):
    """Stands for the login of a managed identity."""


class TokenAuthentication(AbstractAuthentication):
    """Stands for a login by tokens for an audience."""


class ArmTokenAuthentication(AbstractAuthentication):
    """Stands for a login by one token."""

    def update_auth_token(self, arm_access_token: str) -> None:
        """Forget this one, too."""


class AzureMLTokenAuthentication(AbstractAuthentication):
    """Stands for the login that a submitted script was given."""
