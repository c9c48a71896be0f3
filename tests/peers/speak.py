"""Says a sentence with eSpeak NG and writes it as Telegram's voice notes are: Opus in Ogg. Usage: speak.py FILE LANGUAGE WORDS"""
import array
import ctypes
import sys

import av
import espeakng_loader

# speak_lib.h: samples are handed to a callback, in the call that asks for them.
SYNCHRONOUS, CHARS_UTF8, RATE = 2, 1, 1
# Words in a minute: slowly, for a small model.
SLOW = 120
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def spoken(words, language):
    """Samples, and how many there are in a second."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
    assert rate > 0, rate
    samples = array.array("h")

    def take(sound, count, _events):
        if sound and count > 0:
            samples.extend(sound[:count])
        return 0

    callback = CALLBACK(take)
    library.espeak_SetSynthCallback(callback)
    assert library.espeak_SetVoiceByName(language.encode()) == 0, language
    library.espeak_SetParameter(RATE, SLOW, 0)
    text = words.encode()
    assert library.espeak_Synth(text, len(text) + 1, 0, 0, 0, CHARS_UTF8, None, None) == 0
    library.espeak_Synchronize()
    return samples, rate


def main():
    file, language, words = sys.argv[1:]
    samples, rate = spoken(words, language)
    frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples))
    frame.sample_rate = rate
    frame.planes[0].update(samples.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
    with av.open(file, "w", format="ogg") as ogg:
        stream = ogg.add_stream("libopus", rate=48_000, layout="mono")
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000, frame_size=960)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            ogg.mux(stream.encode(part))
        ogg.mux(stream.encode(None))
    print(f"{len(samples) / rate:.1f} s")


if __name__ == "__main__":
    main()
