"""A video of episodes: what the environment's ``render`` shows, as an .mp4 that browsers play."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

from poma3d.errors import FileError, MissingDependencyError, SettingError
from poma3d.files import atomic_path


class VideoRecorder:
    """Writes what ``env.render()`` shows to one .mp4 (H.264, yuv420p). Implements `agent.observer.Observer`.

    Episodes follow one another in the file; each one's last frame stands for a second. The file appears whole
    when the recorder is closed, and not at all if nothing was recorded.

    Args:
        path: the file, ending in ``.mp4``.
        fps: frames a second.
        hold: seconds that the last frame of an episode stands.

    Raises:
        SettingError: another ending, or a rate that is not above 0.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float = 10.0, *, hold: float = 1.0) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != ".mp4":
            raise SettingError(f"a video must be named *.mp4, found {self.path.name!r}")
        if not fps > 0 or not hold >= 0:
            raise SettingError(f"fps must be above 0 and hold at least 0 s, found {fps!r} and {hold!r}")
        self.fps = float(fps)
        self.frames = 0
        """Frames written so far."""
        self._hold = round(hold * fps)
        self._env: Any = None
        self._last: np.ndarray | None = None
        self._shape: tuple[int, ...] | None = None
        self._files = ExitStack()
        self._encoder: subprocess.Popen[bytes] | None = None
        self._complaints: IO[bytes] | None = None

    def begin(self, env: Any, observation: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
        """Write the first frame of an episode.

        Raises:
            SettingError: the environment renders no pictures, or pictures of another size than before.
            FileError: the video cannot be written.
        """
        self._env = env
        self._write()

    def step(
        self, action: int, observation: Mapping[str, np.ndarray], reward: float, info: Mapping[str, Any]
    ) -> None:
        """Write the frame after an action."""
        self._write()

    def end(self, measures: Mapping[str, Any]) -> None:
        """Hold the last frame of the episode."""
        for _ in range(self._hold):
            self._send(self._last)

    def close(self) -> None:
        """Finish the file and put it in its place.

        Raises:
            FileError: the video cannot be written, as on a full disk; nothing appears under `path`.
        """
        encoder = self._encoder
        if encoder is None:
            return
        with contextlib.suppress(OSError):  # what ffmpeg could not take, its exit code tells
            _pipe(encoder).close()
        if encoder.wait() != 0:
            self._fail()
        self._encoder = None
        self._files.close()

    def discard(self) -> None:
        """Throw away what was recorded; nothing appears under `path`."""
        if self._encoder is not None:
            self._abandon()

    def _write(self) -> None:
        frame = self._env.render()
        if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.dtype != np.uint8:
            raise SettingError(
                "the environment renders no pictures to record; make it with render_mode='rgb_array'"
            )
        if self._encoder is None:
            self._shape = frame.shape
            self._start(frame)
        elif frame.shape != self._shape:
            raise SettingError(f"a video of {self._shape} pixels cannot hold a frame of {frame.shape}")
        self._last = frame
        self._send(frame)

    def _start(self, frame: np.ndarray) -> None:
        temporary = self._files.enter_context(atomic_path(self.path))
        complaints = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self._complaints = complaints
        height, width = frame.shape[:2]
        size = f"{width}x{height}"
        command = [
            *(_ffmpeg(), "-y", "-v", "error"),
            *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", f"{self.fps:g}", "-i", "-", "-an"),
            # yuv420p needs even sizes: odd ones get one more row or column
            *("-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"),
            *("-c:v", "libx264", "-crf", "20", "-preset", "veryfast", "-threads", "2"),
            *("-movflags", "+faststart", str(temporary)),
        ]
        self._encoder = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            start_new_session=True,  # Ctrl-C is ours: what was recorded so far is kept
        )

    def _send(self, frame: np.ndarray | None) -> None:
        if frame is None or self._encoder is None:
            return
        try:
            _pipe(self._encoder).write(np.ascontiguousarray(frame).data)
        except OSError:
            self._fail()
        self.frames += 1

    def _fail(self) -> NoReturn:
        """Leave no file, and say what ffmpeg complained of."""
        assert self._complaints is not None
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        self._abandon()
        raise FileError(
            self.path, f"the video cannot be written ({lines[-1] if lines else 'ffmpeg stopped'})"
        )

    def _abandon(self) -> None:
        """End ffmpeg and leave the file's context as after a failure, so that the temporary file goes."""
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            encoder.kill()
            encoder.wait()
            with contextlib.suppress(OSError):
                _pipe(encoder).close()
        failure = _AbandonedError()
        with contextlib.suppress(_AbandonedError):
            self._files.__exit__(_AbandonedError, failure, None)


def still(path: str | os.PathLike[str]) -> bytes | None:
    """A telling frame of a video as JPEG; None where the file is no video that ffmpeg can read."""
    command = [
        *(_ffmpeg(), "-v", "error", "-i", os.fspath(path)),
        *("-vf", "thumbnail=60", "-frames:v", "1", "-q:v", "4", "-f", "image2pipe", "-c:v", "mjpeg", "-"),
    ]
    try:
        answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout or None


class _AbandonedError(Exception):
    """Tells `atomic_path` that what was written is not wanted."""


def _ffmpeg() -> str:
    """The ffmpeg that comes with imageio-ffmpeg."""
    import imageio_ffmpeg

    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise MissingDependencyError(
            "there is no ffmpeg for videos: `pip install --force-reinstall imageio-ffmpeg` brings one"
        ) from error


def _pipe(encoder: subprocess.Popen[bytes]) -> IO[bytes]:
    assert encoder.stdin is not None
    return encoder.stdin
