"""Intel Embree 4's shared library, out of the ``embreex`` wheel, with the signatures of the functions used here.

They are those of Embree 4's public headers (``rtcore_device.h``, ``rtcore_scene.h``, ``rtcore_geometry.h``;
RenderKit/embree, Apache-2.0).
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
from pathlib import Path

from poma3d.errors import MissingDependencyError

_INSTALL = "pip install --force-reinstall 'embreex>=4.4,<5'"

_pointer, _size = ctypes.c_void_p, ctypes.c_size_t
_SIGNATURES = {
    "rtcNewDevice": (_pointer, [ctypes.c_char_p]),
    "rtcGetDeviceProperty": (ctypes.c_ssize_t, [_pointer, ctypes.c_int]),
    "rtcGetDeviceError": (ctypes.c_int, [_pointer]),
    "rtcSetDeviceMemoryMonitorFunction": (None, [_pointer, _pointer, _pointer]),
    "rtcNewGeometry": (_pointer, [_pointer, ctypes.c_int]),
    "rtcSetSharedGeometryBuffer": (
        None,
        [_pointer, ctypes.c_int, ctypes.c_uint, ctypes.c_int, _pointer, _size, _size, _size],
    ),
    "rtcSetGeometryIntersectFilterFunction": (None, [_pointer, _pointer]),
    "rtcCommitGeometry": (None, [_pointer]),
    "rtcReleaseGeometry": (None, [_pointer]),
    "rtcNewScene": (_pointer, [_pointer]),
    "rtcAttachGeometry": (ctypes.c_uint, [_pointer, _pointer]),
    "rtcCommitScene": (None, [_pointer]),
    "rtcReleaseScene": (None, [_pointer]),
    "rtcIntersect4": (None, None),
    "rtcIntersect8": (None, None),
    "rtcIntersect16": (None, None),
}


@functools.cache
def library() -> ctypes.CDLL:
    """The library, loaded once.

    Raises:
        MissingDependencyError: the wheel is not installed, or it holds no Embree 4 for this platform.
    """
    spec = importlib.util.find_spec("embreex")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(f"the ray caster needs Intel Embree; install it with: {_INSTALL}")
    package = Path(next(iter(spec.submodule_search_locations)))
    # auditwheel puts it beside the package, delocate into .dylibs, delvewheel beside it again (Windows)
    places = (package.parent / "embreex.libs", package / ".dylibs", package)
    found = sorted(path for place in places if place.is_dir() for path in place.glob("*embree4*"))
    if not found:
        searched = ", ".join(str(place) for place in places)
        raise MissingDependencyError(
            f"the installed embreex holds no Embree 4 library (looked in {searched});"
            f" install it again with: {_INSTALL}"
        )
    try:
        importlib.import_module("embreex.rtcore")  # loads the TBB library that Embree itself is linked to
        embree = ctypes.CDLL(str(found[0]))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(embree, name)
            function.restype, function.argtypes = result, arguments
    except (ImportError, OSError, AttributeError) as error:
        raise MissingDependencyError(
            f"{found[0]} cannot be used as Embree 4 ({error}); install it again with: {_INSTALL}"
        ) from error
    return embree
