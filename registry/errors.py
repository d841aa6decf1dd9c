"""Which errors come from a registry, and who must act on each?

::

    Refused        RegistryMisbehaved ├─ ForeignRedirect
                                      ├─ ForeignRealm
                                      └─ ForeignUpload
    Unavailable    RegistryUnavailable, RegistryNotStarted
    Misconfigured  NotInRegistry, RegistryDenied, RegistryUntrusted, RegistryToolMissing, RegistryInTheWay,
                   RegistryNotSwept
"""

from __future__ import annotations

from security.errors import Misconfigured, Refused, Unavailable


class RegistryMisbehaved(Refused):
    """A registry answered in a way the distribution specification does not allow."""

    code = "registry.misbehaved"
    default_hint = "check the address: is it a container registry? If so, ask its operator"


class ForeignRedirect(RegistryMisbehaved):
    """A registry redirected a request to a place that the configuration does not name, or that may not be redirected."""

    code = "registry.foreign-redirect"
    default_hint = (
        "if this storage host is the consortium's, name its origin under blob_hosts of 'registry' in station.yaml, or as "
        "login.blobHosts in the home's pht.json"
    )


class ForeignRealm(RegistryMisbehaved):
    """A registry asked for credentials to be sent to a token service that the configuration does not name."""

    code = "registry.foreign-realm"
    default_hint = (
        "if this token service is the consortium's, name its origin: --registry-token-host, or token_hosts under "
        "'registry' in station.yaml"
    )


class ForeignUpload(RegistryMisbehaved):
    """A registry wanted an upload to go to another origin than its own."""

    code = "registry.foreign-upload"
    default_hint = "behind a reverse proxy the registry must be told to answer with relative addresses"


class RegistryUnavailable(Unavailable):
    """The registry cannot be reached, broke off, or is too busy. It is tried again."""

    code = "registry.unavailable"
    default_hint = "check its address, and whether it runs; or try again later"


class RegistryNotStarted(Unavailable):
    """The registry was started but does not answer."""

    code = "registry.not-started"
    default_hint = "the registry's log says why"


class NotInRegistry(Misconfigured):
    """The registry has no such repository, tag, manifest or blob."""

    code = "registry.not-found"
    default_hint = "check the name and the registry's address"


class RegistryDenied(Misconfigured):
    """The registry knows us not, or does not allow this."""

    code = "registry.denied"
    default_hint = (
        "check the account: --registry-user and --registry-password-file before the command ('pht train setup' keeps "
        "them), or username and password_file under 'registry' in station.yaml; and its rights, with its operator"
    )


class RegistryUntrusted(Misconfigured):
    """The registry's certificate is not signed by an authority this installation trusts, or is for another host."""

    code = "registry.certificate"
    default_hint = (
        "give the authority's certificate with --registry-ca-file before the command ('pht train setup' keeps it), or as "
        "ca_file under 'registry' in station.yaml"
    )


class RegistryToolMissing(Misconfigured):
    """There is no registry program on this machine."""

    code = "registry.tool-missing"


class RegistryInTheWay(Misconfigured):
    """The state folder belongs to a registry that was started differently."""

    code = "registry.in-the-way"


class RegistryNotSwept(Misconfigured):
    """The registry's program could not remove what nothing refers to."""

    code = "registry.not-swept"


class EngineUnavailable(Unavailable):
    """No container engine answers, or it stopped in the middle of its work."""

    code = "engine.unavailable"
    default_hint = "is the container engine running, and may this user open its socket?"
