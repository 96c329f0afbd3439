"""Keep Hydra's global state apart from that of a program that uses Hydra itself."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_hydra_state() -> Iterator[None]:
    """Run the block with a HydraConfig, version base and job of its own; then restore those of the caller, and its resolvers.
    Hydra's plugins, which take long to discover, are shared."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.singleton import Singleton
    from hydra.core.utils import JobRuntime
    from hydra.version import VersionBase
    from omegaconf.basecontainer import BaseContainer

    own = (GlobalHydra, HydraConfig, JobRuntime, VersionBase)

    def others() -> dict[type, Singleton]:
        return {kind: value for kind, value in Singleton._instances.items() if kind not in own}

    singletons, resolvers = Singleton._instances, BaseContainer._resolvers
    Singleton._instances, BaseContainer._resolvers = others(), dict(resolvers)
    try:
        yield
    finally:
        Singleton._instances, BaseContainer._resolvers = {**others(), **singletons}, resolvers
