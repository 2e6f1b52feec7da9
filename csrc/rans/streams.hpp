// Small byte streams (rows' classes, escapes): raw, a run, or order-0 dense rANS, whichever is shortest.
#pragma once
#include "rans/coders.hpp"

namespace taut {

std::vector<uint8_t> write_bytes(const std::vector<uint8_t>& bytes);
// `wide`: steps of the dense coder, or null for the portable ones.
std::vector<uint8_t> read_bytes(const uint8_t* data, size_t size, uint64_t count, DecodeDenseSteps* wide = nullptr);

}  // namespace taut
