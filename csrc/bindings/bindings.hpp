// Python's door to the core: buffers in, bytes out; the interpreter's lock is released around the work. Only this
// folder knows Python.
//
//   module.cpp       the module, and what it says of its kernels
//   arguments.cpp    what several of its functions are given, checked
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "array/array.hpp"
#include "simd/simd.hpp"

namespace taut::bindings {

namespace nb = nanobind;

template <class T>
using Array = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Input = Array<const uint8_t>;
using Indices = Array<const int32_t>;
using Floats = Array<const float>;

nb::bytes to_bytes(const std::vector<uint8_t>& v);
nb::tuple to_tuple(const std::vector<std::vector<uint8_t>>& chunks);

// What is wrong with an argument raises ValueError.
const Kernels& kernels_named(const std::string& name);  // "": the best ones
EncodeOptions options_of(bool max_effort, uint64_t row_length, int threads);
Output output_of(int number);

// (header, chunks) of what `encode` gives, which runs without the interpreter's lock.
template <class Encode>
nb::tuple encoded(Encode encode) {
    Encoded e;
    {
        nb::gil_scoped_release release;
        e = encode();
    }
    return nb::make_tuple(to_bytes(e.header), to_tuple(e.chunks));
}

void bind_decode(nb::module_& m);
void bind_device(nb::module_& m);
void bind_byte_integers(nb::module_& m);
void bind_words(nb::module_& m);
void bind_indices(nb::module_& m);
void bind_matrix(nb::module_& m);
void bind_records(nb::module_& m);
void bind_round(nb::module_& m);

}  // namespace taut::bindings
