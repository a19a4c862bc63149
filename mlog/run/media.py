"""Sound and video of any kind as the bytes of a file. Pure: nothing is written.

What is a file already (a path, bytes, a stream) stays as it is, once its first bytes or
its name have told what it is. Samples become a WAV of 16 bits, frames an animated PNG,
which needs no other library and plays in browsers without a player.
"""

import os
from pathlib import Path
from typing import Any

from mlog.plain import class_name
from mlog.run.images import Media, animation, grid_of, head_of, image_type, packed

__all__ = ["audio_of", "audio_type", "video_of", "video_type"]

_FPS = 4.0
_MAX_CHANNELS = 8
_SUFFIXES = {
    ".aac": "audio/aac",
    ".aif": "audio/aiff",
    ".aiff": "audio/aiff",
    ".avi": "video/x-msvideo",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".m4v": "video/mp4",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".mpeg": "video/mpeg",
    ".mpg": "video/mpeg",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
    ".webm": "video/webm",
}


def audio_type(head: bytes) -> tuple[str, str] | None:
    """Return media type and suffix of sound by its first bytes; None: it is none.

    Known are WAV, FLAC, MP3, Ogg, AIFF and M4A.
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "audio/wav", ".wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "audio/aiff", ".aiff"
    if head[:4] == b"fLaC":
        return "audio/flac", ".flac"
    if head[:4] == b"OggS":
        return "audio/ogg", ".ogg"
    if head[4:11] == b"ftypM4A":
        return "audio/mp4", ".m4a"
    # An MP3 begins with a tag, or with 11 bits that are 1 and "layer III".
    if head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] in b"\xfb\xfa\xf3\xf2"):
        return ("audio/mpeg", ".mp3") if len(head) > 3 else None
    return None


def video_type(head: bytes) -> tuple[str, str] | None:
    """Return media type and suffix of a video by its first bytes; None: it is none.

    Known are MP4, QuickTime, WebM, Matroska, AVI, Ogg, MPEG, and animated images (GIF,
    PNG, WebP; a still one is not told apart).
    """
    if head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"avis", b"M4A "):
        is_quicktime = head[8:12] == b"qt  "
        return ("video/quicktime", ".mov") if is_quicktime else ("video/mp4", ".mp4")
    if head[:4] == b"\x1a\x45\xdf\xa3":
        is_webm = b"webm" in head[:64]
        return ("video/webm", ".webm") if is_webm else ("video/x-matroska", ".mkv")
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "video/x-msvideo", ".avi"
    if head[:4] == b"OggS":
        return "video/ogg", ".ogv"
    if head[:4] in (b"\0\0\1\xba", b"\0\0\1\xb3"):
        return "video/mpeg", ".mpg"
    found = image_type(head)
    return found if found and found[1] in (".gif", ".png", ".webp") else None


def audio_of(audio: Any, sample_rate: float | None = None) -> Media:
    """Return sound as a file.

    Args:
        audio: Path of a sound file, its bytes, or a stream of them; or samples, (n,) or
            (n, channels), as floats in [-1, 1] or 16-bit integers. (channels, n) is
            turned where only that gives at most 8 channels. NaN becomes silence.
        sample_rate: Samples a second; needed for samples only.

    Raises:
        ValueError: No sound, a wrong shape or range, or no rate.
        TypeError: It is nothing of these.
        OSError: The file cannot be read.
    """
    found = _file_of(audio, "audio")
    if found is not None:
        return found
    if sample_rate is None or not 1 <= sample_rate < 2**31:
        raise ValueError(
            f"samples need sample_rate=, in samples a second, got {sample_rate!r}"
        )
    return Media(_wav(audio, round(sample_rate)), "audio/wav", ".wav")


def video_of(video: Any, fps: float | None = None) -> Media:
    """Return a video as a file.

    Args:
        video: Path of a video file, its bytes, or a stream of them; or frames, T×H×W or
            T×H×W×C with the pixels of `mlog.run.images`, which become an animated PNG.
        fps: Frames a second, 4 by default; a file has its own.

    Raises:
        ValueError: No video, or a wrong shape, range or rate.
        TypeError: It is nothing of these.
        OSError: The file cannot be read.
    """
    found = _file_of(video, "video")
    if found is not None:
        return found
    return Media(animation(video, _FPS if fps is None else fps), "image/apng", ".png")


def _file_of(source: Any, kind: str) -> Media | None:
    """Return what is a file already; None: it is none."""
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        return Media(path, *_type_of(head_of(path), path, kind))
    if callable(getattr(source, "read", None)):
        source = source.read()
    elif not isinstance(source, bytes | bytearray | memoryview):
        return None
    if isinstance(source, str):
        raise TypeError(f"{kind} is read as bytes, got {class_name(source)}")
    data = bytes(source)
    return Media(data, *_type_of(data, None, kind))


def _type_of(head: bytes, path: Path | None, kind: str) -> tuple[str, str]:
    found = (audio_type if kind == "audio" else video_type)(head)
    if found is not None:
        return found
    suffix = path.suffix.lower() if path is not None else ""
    told = _SUFFIXES.get(suffix, "")
    if told.startswith(f"{kind}/"):
        return told, suffix
    raise ValueError(
        f"{path or 'what was given'} is no {kind} file of a kind known here; log_file "
        "keeps files of any kind"
    )


def _wav(samples: Any, rate: int) -> bytes:
    import io
    import wave

    grid = grid_of(samples, "audio")
    if len(grid.shape) == 2 and grid.shape[1] > _MAX_CHANNELS >= grid.shape[0]:
        grid = grid.with_last(0)
    channels = grid.shape[1] if len(grid.shape) == 2 else 1
    if len(grid.shape) not in (1, 2) or not 1 <= channels <= _MAX_CHANNELS:
        told = "×".join(map(str, grid.shape)) or "a single number"
        raise ValueError(f"audio has the shape (n,) or (n, channels), got {told}")
    if grid.dtype == "uint8":
        raise ValueError(
            "audio of 8 bits can be meant in two ways; convert it to int16, or to "
            "floats in [-1, 1]"
        )
    data = packed(grid, "h", floats=(-1.0, 1.0), factor=32_767, what="samples")
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(data)
    return stream.getvalue()
