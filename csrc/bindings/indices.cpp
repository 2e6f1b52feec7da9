// Indices of a quantiser: of a uniform one, and with a model that learns as it goes.
#include "adaptive/adaptive.hpp"
#include "bindings/bindings.hpp"
#include "split/split.hpp"

namespace taut::bindings {
namespace {

nb::tuple encode_indices(Indices indices, float step, std::array<float, 3> offsets, int output, uint64_t row_length,
                         bool max_effort, int threads) {
    const Output type = output_of(output);
    const EncodeOptions options = options_of(max_effort, row_length, threads);
    return encoded([&] { return encode_uniform(indices.data(), indices.size(), step, offsets, type, options); });
}

double estimate_indices(Indices indices, uint64_t row_length, bool max_effort) {
    const EncodeOptions options = options_of(max_effort, row_length, 1);
    nb::gil_scoped_release release;
    return estimate_uniform(indices.data(), indices.size(), options);
}

// Empty levels, scales and zeros: none.
nb::tuple encode_adaptive_indices(Indices indices, uint64_t columns, float step, Floats levels, int32_t low,
                                  Floats scales, Indices zeros, uint64_t group, uint32_t period, int output,
                                  int threads) {
    const Output type = output_of(output);
    options_of(false, columns, threads);
    if (!indices.size() || indices.size() % columns) throw nb::value_error("indices must make whole rows");
    if (columns > kMaxAdaptiveColumns) throw nb::value_error("rows must have at most 2^20 values");
    if (period < 1 || columns % period || group >= columns) throw nb::value_error("kernels or groups do not fit a row");
    AdaptiveSpec spec;
    spec.columns = columns;
    spec.step = step;
    spec.output = type;
    AdaptiveFields& a = spec.fields;
    a.period = period;
    a.group = group;
    a.low = low;
    a.levels.assign(levels.data(), levels.data() + levels.size());
    a.scales.assign(scales.data(), scales.data() + scales.size());
    a.zeros.assign(zeros.data(), zeros.data() + zeros.size());
    const uint64_t groups = group ? (columns + group - 1) / group : 1, wanted = indices.size() / columns * groups;
    if ((a.scales.size() && a.scales.size() != wanted) || (a.zeros.size() && a.zeros.size() != a.scales.size()))
        throw nb::value_error("a scale for each row and group, as many zeros, or none");
    if (a.levels.size() > kMaxLevels) throw nb::value_error("too many levels");
    return encoded([&] { return encode_adaptive(indices.data(), indices.size(), spec, threads); });
}

}  // namespace

void bind_indices(nb::module_& m) {
    m.def("encode_indices", &encode_indices, nb::arg("indices"), nb::arg("step"), nb::arg("offsets"),
          nb::arg("output"), nb::arg("row_length"), nb::arg("max_effort"), nb::arg("threads") = 1,
          "Codes int32 indices of a uniform quantiser; returns (header, chunks).");
    m.def("estimate_indices", &estimate_indices, nb::arg("indices"), nb::arg("row_length"), nb::arg("max_effort"),
          "Bytes that encode_indices would take, estimated from its tables.");
    m.def("encode_adaptive", &encode_adaptive_indices, nb::arg("indices"), nb::arg("columns"), nb::arg("step"),
          nb::arg("levels"), nb::arg("low"), nb::arg("scales"), nb::arg("zeros"), nb::arg("group"), nb::arg("period"),
          nb::arg("output"), nb::arg("threads") = 1,
          "Codes indices with a model that learns as it goes; empty arrays: none. Returns (header, chunks).");
}

}  // namespace taut::bindings
