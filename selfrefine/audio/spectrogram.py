"""Short-time Fourier transforms of stereo batches."""

import torch
from torch import Tensor


def spectrogram(audio: Tensor, fft: int, hop: int, centred: bool) -> Tensor:
    """Complex `(batch, channel, bin, frame)` of `(batch, channel, sample)`, Hann window.

    Not centred, frame k is samples `k * hop … k * hop + fft`, so that frames of a long signal are
    the frames of its segments: refining slices windows out of one transform for that reason.
    """
    batch, channels, samples = audio.shape
    window = torch.hann_window(fft, device=audio.device, dtype=audio.dtype)
    frames = torch.stft(
        audio.reshape(batch * channels, samples),
        fft,
        hop,
        window=window,
        center=centred,
        return_complex=True,
    )
    return frames.reshape(batch, channels, *frames.shape[1:])


@torch.no_grad()
def magnitude(audio: Tensor, fft: int, hop: int, centred: bool) -> Tensor:
    """Moduli of `spectrogram`, without a gradient, in a third of the time of torch's own."""
    frames = spectrogram(audio, fft, hop, centred)
    power = frames.real.square()
    return power.addcmul_(frames.imag, frames.imag).sqrt_()


def waveform(frames: Tensor, fft: int, hop: int, length: int) -> Tensor:
    """`(batch, channel, sample)` of a centred spectrogram `(batch, channel, bin, frame)`."""
    batch, channels = frames.shape[:2]
    window = torch.hann_window(fft, device=frames.device)
    audio = torch.istft(
        frames.reshape(batch * channels, *frames.shape[2:]), fft, hop, window=window, length=length
    )
    return audio.reshape(batch, channels, length)
