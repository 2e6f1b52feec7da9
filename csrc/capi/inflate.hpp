// Deflate streams (RFC 1951) to bytes: a table of contents, an ONNX graph.
#pragma once
#include "capi/memory.hpp"

namespace taut::capi {

struct Inflated {
    size_t size = 0;  // bytes in `out`
    size_t used = 0;  // bytes of the stream
};
// `dictionary` lies before the first byte. Gives more than `limit` bytes to no stream; why it failed stands in `fail`.
bool inflate(Text stream, Text dictionary, uint64_t limit, Block& out, Inflated& found, Fail& fail);
// The same of a zlib stream (RFC 1950) without a dictionary.
bool inflate_zlib(Text stream, uint64_t limit, Block& out, Inflated& found, Fail& fail);

Text index_dictionary();  // docs/format.md, 4

}  // namespace taut::capi
