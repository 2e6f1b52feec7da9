// Small byte streams (rows' classes, escapes): raw, a run, or order-0 dense rANS, whichever is shortest.
#pragma once
#include <vector>

#include "base/memory.hpp"
#include "base/status.hpp"
#include "rans/coders.hpp"

namespace taut {

enum class ByteStream : uint8_t { raw = 0, run = 1, small = 2, dense = 3 };

std::vector<uint8_t> write_bytes(const std::vector<uint8_t>& bytes);
// `wide`: steps of the dense coder, or null for the portable ones.
Status read_bytes(const uint8_t* data, size_t size, uint64_t count, Vec<uint8_t>& out, DecodeDenseSteps* wide = nullptr);

}  // namespace taut
