"""What `qrbackends gateway` writes on a screen."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..surface.addresses import Addresses


def screen_of(addresses: "Addresses", title: str, forward: bool) -> str:
    """Return what a person reads: the addresses, the key, and what to set for each client.

    Args:
        addresses: where the gateway is.
        title: the first line.
        forward: whether callers present credentials of their own.
    """
    crns = [one.crn for one in addresses.instances] or ["CRN"]
    key = addresses.api_key or ("YOUR IBM CLOUD API KEY" if forward else "A KEY OF THE GATEWAY'S")
    url = next(iter(addresses.regions.values()), f"{addresses.iam_url}/api/v1")
    instances = "\n".join(f"  {one.crn}" for one in addresses.instances) or "  those of each caller's account"
    throw_away = (
        f"\nAPI key, good until the gateway ends:\n  {addresses.api_key}" if addresses.api_key else ""
    )
    return _SCREEN.format(
        title=title,
        throw_away=throw_away,
        instances=instances,
        key=key,
        crn=crns[0],
        listed="\n".join(f"        Instance({crn!r}, url={url!r})," for crn in crns),
        url=url,
        iam=addresses.iam_url,
        search=addresses.search_url,
        catalog=addresses.catalog_url,
    )


_SCREEN = """\
{title}
{throw_away}
Instances:
{instances}

The official client, first in the shell, then in Python:

export QISKIT_IBM_CHANNEL=ibm_quantum_platform
export QISKIT_IBM_TOKEN='{key}'
export QISKIT_IBM_INSTANCE=auto
export IAM_URL={iam}
export GLOBAL_SEARCH_URL={search}
export GLOBAL_CATALOG_URL={catalog}

from qiskit_ibm_runtime import QiskitRuntimeService

service = QiskitRuntimeService(url_resolver=lambda *_: {url!r})

QRMI, in `environment` of qrmi_config.json (in a shell, each name begins with the device: ibm_boston_QRMI_…):

export QRMI_IBM_QCS_ENDPOINT={url}
export QRMI_IBM_QCS_IAM_ENDPOINT={iam}
export QRMI_IBM_QCS_IAM_APIKEY='{key}'
export QRMI_IBM_QCS_SERVICE_CRN={crn}  # of an instance that lists the device

qrbackends:

from qrbackends import Account, Client, Instance

account = Account(
    api_key={key!r},
    instances=[
{listed}
    ],
    iam_url={iam!r},
    search_url={search!r},
    catalog_url={catalog!r},
)

Ctrl-C ends it.\
"""
