"""Probes on networks that normexp did not build.

Named `watching`, since a package `normexp.watch` would replace the function of that name when it is imported.
"""

from normexp.watching.session import Watch as Watch
from normexp.watching.session import watch as watch
