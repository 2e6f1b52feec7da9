"""Short JSON texts as raw deflate streams against a fixed dictionary (docs/format.md, 4)."""

from __future__ import annotations

import zlib
from typing import Final

from taut.errors import FormatError

# A table of contents is mostly checksums, which do not deflate: real ones shrink by 3-10. The cap
# keeps a few hostile kilobytes from growing into gigabytes of Python objects.
_MOST, _START, _RATIO = 100_000_000, 1 << 18, 50
_RAW: Final = -15  # deflate without zlib's header and Adler-32: the file has better checksums

# What the first tensors of a small model would otherwise spell out. Later words are cheaper to
# reach. It belongs to version 2 of the format, and no byte of it may ever change.
DICTIONARY: Final = (
    b"embeddings.word_embeddings.encoder.layer.0.attention.self.query.weight.key.weight"
    b".value.weight.output.dense.weight.LayerNorm.intermediate.dense.bias"
    b"transformer.h.0.attn.c_attn.weight.c_proj.mlp.c_fc.ln_1.weight.ln_f.wte.weight.lm_head"
    b"model.layers.0.self_attn.q_proj.weight.k_proj.v_proj.o_proj.mlp.gate_proj.up_proj"
    b".down_proj.weight.input_layernorm.post_attention_layernorm.norm.weight.embed_tokens"
    b"blocks.0.block.features.0.0.classifier.head.backbone.stem.module.decoder"
    b"codebook16+ternary+binary+int8+int4:g64+2:4+fp8+fp16+50%+90%+channels:50%+"
    b'"downsample.0.weight",[shortcut.0.weight"layer4.2.layer3.1.conv3.weight"layer2.1.bn2.weight"'
    b'layer1.2.conv1.weight",[256,128,1,1],[512],[256],[1024],[768,768],[384,384],[2048,120,84,'
    b'"modules":{"conv1":{"out_channels":16,"in_channels":,"num_features":,"out_features":,'
    b'"in_features":},"of":"","tied":true,"pack":0,"lengths":[20,"name":"taut.pack","checksum":"'
    b'"solids":[{"name":"taut.solid.I64","dtype":"I64","pack":0,"lengths":[17]},'
    b'{"name":"taut.solid.F16","dtype":"F16","pack":0,"lengths":[38,'
    b'"kinds":[{"dtype":"I64","scheme":"lossless","store":"solid","solid":0},{"dtype":"F32",'
    b'"scheme":"fp16","store":"solid","as":"F16","solid":1},{"dtype":"BF16","scheme":"keep",'
    b'"store":"kept"},]],[0,"layer1.0.bn1.bias",[16],[20,],[0,"layer1.0.bn1.running_mean",[32],[2'
    b'],[0,"layer1.0.bn1.running_var",[64],[2],[1,"layer1.0.bn1.num_batches_tracked",[]],'
    b'[0,"linear.bias",[10],],[0,"linear.weight",[10,64],[0,"layer3.0.conv2.weight",[64,64,3,3],'
    b'[0,"layer2.0.conv2.weight",[32,32,3,3],[0,"layer1.0.conv1.weight",[16,16,3,3],[2'
    b'],[0,"fc3.bias",[10],[0,"fc2.weight",[10,100],[0,"fc1.weight",[300,784],[0,"fc2.bias",['
    b'],[0,"fc1.bias",[100],[2],[0,"conv2.weight",[64,32,3,3],[2],[0,"conv2.bias",[50],[2'
    b'],[0,"conv1.weight",[20,1,5,5],[25,180],'
    b'{"source":{"bytes":1,"metadata":{"format":"pt"},"files":[{"name":"model.safetensors"}]},'
    b'"packs":[{"sum":"0"}],"kinds":[{"dtype":"F32","scheme":"rd:2","store":"packed","pack":0}],'
    b'"tensors":[[0,"conv1.bias",[20],[2'
)


def deflate(text: bytes) -> bytes:
    """The shortest stream that zlib finds for `text`, among those that `inflate` takes."""
    streams = [
        _deflated(text, level, strategy)
        for level, strategy in ((9, zlib.Z_DEFAULT_STRATEGY), (9, zlib.Z_FIXED))
    ]
    shortest = min(streams, key=len)
    if len(text) <= _cap(shortest):
        return shortest
    faster = _deflated(text, 1, zlib.Z_DEFAULT_STRATEGY)
    # Thousands of aliases deflate too well to be told from a bomb.
    return faster if len(text) <= _cap(faster) else _deflated(text, 0, zlib.Z_DEFAULT_STRATEGY)


def inflate(blob: bytes) -> tuple[bytes, int]:
    """The text of the stream that `blob` begins with, and how many bytes follow the stream.

    Raises:
        FormatError: it is no such stream, is cut off, or holds more than `blob` may hold.
    """
    return _inflated(zlib.decompressobj(_RAW, zdict=DICTIONARY), blob, "deflate")


def inflate_first(blob: bytes) -> tuple[bytes, int]:
    """As `inflate`, of a zlib stream without a dictionary (RFC 1950), as version 1 has it."""
    return _inflated(zlib.decompressobj(), blob, "zlib")


def _deflated(text: bytes, level: int, strategy: int) -> bytes:
    stream = zlib.compressobj(level, zlib.DEFLATED, _RAW, 9, strategy, DICTIONARY)
    return stream.compress(text) + stream.flush()


def _cap(blob: bytes) -> int:
    return min(_MOST, _START + _RATIO * len(blob))


def _inflated(stream: zlib._Decompress, blob: bytes, kind: str) -> tuple[bytes, int]:
    cap = _cap(blob)
    try:
        text = stream.decompress(blob, cap)
    except zlib.error as error:
        raise FormatError(f"index: not a {kind} stream ({error})") from None
    if not stream.eof:
        raise FormatError(f"index: cut off, or inflates to more than {cap} bytes")
    return text, len(stream.unused_data)
