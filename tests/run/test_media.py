"""Sound and video of any kind as files."""

import array
import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.errors import MlogWarning
from mlog.run.media import audio_of, audio_type, video_of, video_type
from tests.odd_values import NAN


@pytest.fixture(autouse=True)
def forget_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test may be told again."""
    monkeypatch.setattr("mlog.errors._told", {})


def samples_of(data: Any) -> tuple[int, int, list[int]]:
    """Return rate, channels and samples of a WAV of 16 bits."""
    with wave.open(io.BytesIO(data)) as file:
        assert file.getsampwidth() == 2
        raw = file.readframes(file.getnframes())
        found = np.frombuffer(raw, "<i2").tolist()
        return file.getframerate(), file.getnchannels(), found


@given(st.lists(st.integers(-32_768, 32_767)), st.integers(1, 192_000))
def test_samples_of_16_bits_are_kept(samples: list[int], rate: int) -> None:
    for audio in (samples, array.array("h", samples), np.array(samples, dtype="i2")):
        found = audio_of(audio, rate)
        assert (found.media_type, found.suffix) == ("audio/wav", ".wav")
        assert samples_of(found.source) == (rate, 1, samples)


@pytest.mark.parametrize("make", [np.array, np.ndarray.tolist])
def test_floats_are_scaled(make: Any) -> None:
    audio = make(np.array([0.0, 1.0, -1.0, 0.5, 1.0000001]))
    found = samples_of(audio_of(audio, 8_000).source)
    assert found == (8_000, 1, [0, 32_767, -32_767, 16_384, 32_767])


@pytest.mark.parametrize("make", [np.array, np.ndarray.tolist])
def test_channels_stand_side_by_side(make: Any) -> None:
    stereo = np.array([[1, -1], [2, -2], [3, -3]])
    assert samples_of(audio_of(make(stereo), 8_000).source) == (
        8_000,
        2,
        [1, -1, 2, -2, 3, -3],
    )


@pytest.mark.parametrize("make", [np.array, np.ndarray.tolist])
def test_channels_may_come_first(make: Any) -> None:
    """As torchaudio has them, where it can mean nothing else."""
    stereo = np.arange(18).reshape(2, 9)
    found = samples_of(audio_of(make(stereo), 8_000).source)
    assert found == (8_000, 2, stereo.T.ravel().tolist())


def test_nan_is_silence_and_says_so() -> None:
    with pytest.warns(MlogWarning, match="1 of the samples are NaN"):
        found = audio_of([NAN, 1.0], 8_000)
    assert samples_of(found.source)[2] == [0, 32_767]


@pytest.mark.parametrize("rate", [None, 0, -1, NAN, 2**31])
def test_samples_need_a_rate(rate: float | None) -> None:
    with pytest.raises(ValueError, match="samples need sample_rate="):
        audio_of([0.0], rate)


@pytest.mark.parametrize(
    ("audio", "text"),
    [
        ([0.0, 1.5], r"samples must lie in \[-1.0, 1.0\].*largest 1.5"),
        ([0, 40_000], r"samples must lie in \[-32768, 32767\].*largest 40000"),
        (np.zeros(4, dtype="u1"), "audio of 8 bits"),
        (np.zeros((2, 2, 2)), "got 2×2×2"),
        (np.zeros((20, 20)), "got 20×20"),
        (np.zeros((20, 0)), "got 20×0"),
    ],
)
def test_samples_that_are_no_sound_are_refused(audio: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        audio_of(audio, 8_000)


def test_what_is_no_audio_is_refused() -> None:
    with pytest.raises(TypeError, match="audio needs"):
        audio_of(object(), 8_000)


AUDIO = {
    b"RIFF\0\0\0\0WAVEfmt ": "audio/wav",
    b"FORM\0\0\0\0AIFF": "audio/aiff",
    b"fLaC\0\0": "audio/flac",
    b"OggS\0\0": "audio/ogg",
    b"ID3\x04\0": "audio/mpeg",
    b"\xff\xfb\x90\x44": "audio/mpeg",
    b"\0\0\0 ftypM4A ": "audio/mp4",
}
VIDEO = {
    b"\0\0\0 ftypisom": "video/mp4",
    b"\0\0\0 ftypqt  ": "video/quicktime",
    b"\x1a\x45\xdf\xa3\0\0\x42\x82webm": "video/webm",
    b"\x1a\x45\xdf\xa3\0\0matroska": "video/x-matroska",
    b"RIFF\0\0\0\0AVI LIST": "video/x-msvideo",
    b"OggS\0\0": "video/ogg",
    b"\0\0\1\xba": "video/mpeg",
    b"GIF89a": "image/gif",
}


@pytest.mark.parametrize("head", AUDIO)
def test_sound_is_known_by_its_first_bytes(head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "sound"
    path.write_bytes(head)
    assert audio_of(path).media_type == AUDIO[head]
    assert audio_of(path).source == path
    assert audio_of(head).source == head
    assert audio_of(io.BytesIO(head)).media_type == AUDIO[head]


@pytest.mark.parametrize("head", VIDEO)
def test_video_is_known_by_its_first_bytes(head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "film"
    path.write_bytes(head)
    assert video_of(str(path)).media_type == VIDEO[head]
    assert video_of(head).media_type == VIDEO[head]


def test_the_name_tells_where_the_bytes_do_not(tmp_path: Path) -> None:
    path = tmp_path / "sound.AAC"
    path.write_bytes(b"\0\0\0")
    assert audio_of(path).media_type == "audio/aac"
    with pytest.raises(ValueError, match=r"sound\.AAC is no video file .* log_file"):
        video_of(path)


@pytest.mark.parametrize("head", [b"", b"\xff", b"\xff\xfb", b"text", b"BM"])
def test_other_bytes_are_neither(head: bytes) -> None:
    assert audio_type(head) is None
    assert video_type(head) is None
    with pytest.raises(ValueError, match="what was given is no audio file"):
        audio_of(head)


def test_a_stream_must_be_of_bytes() -> None:
    with pytest.raises(TypeError, match="video is read as bytes, got str"):
        video_of(io.StringIO("text"))


def test_frames_become_an_animated_png() -> None:
    found = video_of(np.zeros((2, 3, 4, 3), dtype="u1"), fps=25)
    assert (found.media_type, found.suffix) == ("image/apng", ".png")
    assert isinstance(found.source, bytes)
    assert b"acTL" in found.source
    assert video_type(found.source) == ("image/png", ".png")


def test_four_frames_a_second_where_none_are_said() -> None:
    frames = np.zeros((2, 3, 4))
    assert video_of(frames) == video_of(frames, fps=4)
