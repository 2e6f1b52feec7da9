#include "capi/array_reader.hpp"

namespace taut::capi {

bool ArrayReader::open(ConstBytes header, uint64_t bytes, Fail& fail) {
    const Status status = decoder_.open(header, bytes, trusted_kernels());
    if (status.is_memory()) return fail.memory();
    return !status || fail.format("%s", status.what());
}

bool ArrayReader::decode(uint64_t chunk, ConstBytes data, uint8_t* out, Vec<uint8_t>& scratch, Put put,
                         Fail& fail, const uint8_t* base, const uint8_t* rows) const {
    const Status status = decoder_.decode_chunk(chunk, data, out, scratch, put, base, rows);
    if (status.is_memory()) return fail.memory();
    if (status.what() == kWideLevel) return fail.set(TAUT_ERROR_UNSUPPORTED, "%s", kWideLevel);
    return !status || fail.format("chunk %llu: %s", (unsigned long long)(chunk + 1), status.what());
}

void ArrayReader::fill(uint64_t begin, uint64_t end, uint8_t* out) const {
    const auto* value = reinterpret_cast<const uint8_t*>(&header().value);
    for (uint64_t i = begin; i < end; i++) out[i - begin] = value[i % header().width];
}

}  // namespace taut::capi
