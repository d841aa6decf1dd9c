"""Which errors come from a registry, and who must act on each?

::

    Refused        RegistryMisbehaved ├─ RegistryTooLong
                                      ├─ ForeignRedirect
                                      ├─ ForeignRealm
                                      └─ ForeignUpload
    Unavailable    RegistryUnavailable ├─ RegistryIndexUnreadable
                                       └─ RegistryFull
                   RegistryNotStarted
    Misconfigured  NotInRegistry, RegistryDenied, RegistryUntrusted, RegistryWrongScheme, RegistryToolMissing,
                   RegistryInTheWay, RegistryNotSwept
"""

from __future__ import annotations

from security.errors import Misconfigured, Refused, Unavailable


class RegistryMisbehaved(Refused):
    """A registry's response violates the distribution specification."""

    code = "registry.misbehaved"
    default_hint = "check the address: is it a container registry? If it is, ask its operator"


class RegistryTooLong(RegistryMisbehaved):
    """A registry's response is longer than it may be."""

    code = "registry.too-long"


class ForeignRedirect(RegistryMisbehaved):
    """A registry redirected a request to an origin that the configuration does not name, or one that may not be redirected."""

    code = "registry.foreign-redirect"
    default_hint = (
        "if this storage host is the consortium's, name its origin under blob_hosts of 'registry' in station.yaml, or as "
        "login.blobHosts in the home's pht.json"
    )


class ForeignRealm(RegistryMisbehaved):
    """A registry wants credentials sent to a token service that the configuration does not name."""

    code = "registry.foreign-realm"
    default_hint = (
        "if this token service is the consortium's, name its origin: --registry-token-host, or token_hosts under "
        "'registry' in station.yaml"
    )


class ForeignUpload(RegistryMisbehaved):
    """A registry directed an upload to another origin than its own."""

    code = "registry.foreign-upload"
    default_hint = "behind a reverse proxy, configure the registry to return relative addresses"


class RegistryUnavailable(Unavailable):
    """The registry cannot be reached, closed the connection, or is busy. The request is retried."""

    code = "registry.unavailable"
    default_hint = "check its address and whether it is running, or try again later"


class RegistryListSlow(RegistryUnavailable):
    """A list of tags took longer than there is time for. It is asked for again later, and not at once: that would take as long."""

    code = "registry.slow-list"
    default_hint = (
        "ask the registry's operator: how many tags has this repository, and how long does a list of them take?"
    )


class RegistryIndexUnreadable(RegistryUnavailable):
    """A repository in a folder has an index.json that is cut, empty, foreign or too large. What it names says nothing by it."""

    code = "registry.index"
    default_hint = "whoever runs the folder: put index.json back from a backup; the blobs beside it are not affected"


class RegistryFull(RegistryUnavailable):
    """A repository in a folder holds as many manifests as it takes."""

    code = "registry.full"
    default_hint = "take out what is over: 'pht train forget' empties the owner's mailbox"


class RegistryNotStarted(Unavailable):
    """The registry was started but does not respond."""

    code = "registry.not-started"
    default_hint = "see the registry's log"


class NotInRegistry(Misconfigured):
    """The registry has no such repository, tag, manifest or blob."""

    code = "registry.not-found"
    default_hint = "check the name and the registry's address"


class RegistryDenied(Misconfigured):
    """The registry rejected our credentials, or does not allow this."""

    code = "registry.denied"
    default_hint = (
        "check the account: --registry-user and --registry-password-file before the command ('pht train setup' keeps "
        "them), or username and password_file under 'registry' in station.yaml; and its rights, with its operator"
    )


class RegistryUntrusted(Misconfigured):
    """The registry's certificate is not from an authority this installation trusts, or is for another host."""

    code = "registry.certificate"
    default_hint = (
        "give the authority's certificate with --registry-ca-file before the command ('pht train setup' keeps it), or as "
        "ca_file under 'registry' in station.yaml"
    )


class RegistryWrongScheme(Misconfigured):
    """The registry's address says https and the server speaks plain http, or the other way round."""

    code = "registry.scheme"


class RegistryToolMissing(Misconfigured):
    """No registry program is installed on this machine."""

    code = "registry.tool-missing"


class RegistryInTheWay(Misconfigured):
    """The state folder belongs to a running registry with other settings."""

    code = "registry.in-the-way"


class RegistryNotSwept(Misconfigured):
    """The registry program could not collect unreferenced blobs."""

    code = "registry.not-swept"


class EngineUnavailable(Unavailable):
    """No container engine responds, or it closed the connection."""

    code = "engine.unavailable"
    default_hint = "is the container engine running, and may this user open its socket?"
