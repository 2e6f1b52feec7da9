// Coded arrays where they lie in the file.
#pragma once
#include "capi/file.hpp"

namespace taut::capi {

struct OpenArray {
    explicit OpenArray(Memory& memory) : reader(memory) {}
    ArrayReader reader;
    uint64_t chunks_begin = 0;  // byte of the file
};

// Reads the header of a coded array that decodes to `bytes` bytes, or to any number (kAnySize).
bool open_array(taut_file& file, const Place& place, uint64_t bytes, OpenArray& array, Fail& fail);
// Bytes of what is put: values, or integers of four bytes. Only the chunks that hold wanted ones are read, each once.
// `base`: of a delta all of the base's values.
bool read_array(taut_file& file, const Place& place, const OpenArray& array, const Wanted& wanted, Sink& sink, Fail& fail,
                Put put = Put::values, const uint8_t* base = nullptr);

}  // namespace taut::capi
