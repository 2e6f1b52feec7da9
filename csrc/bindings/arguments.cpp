// Arguments that several functions take, checked, and results that several give.
#include "bindings/bindings.hpp"
#include "codec/codec.hpp"

namespace taut::bindings {

nb::bytes to_bytes(const std::vector<uint8_t>& v) { return nb::bytes(v.data(), v.size()); }

nb::tuple to_tuple(const std::vector<std::vector<uint8_t>>& chunks) {
    nb::list out;
    for (const auto& c : chunks) out.append(to_bytes(c));
    return nb::tuple(out);
}

const Kernels& kernels_named(const std::string& name) {
    for (const Kernels* k : all_kernels())
        if (name == k->name) return *k;
    if (name.empty()) return best_kernels();
    throw nb::value_error(("no decoder named " + name + " on this processor").c_str());
}

EncodeOptions options_of(bool max_effort, uint64_t row_length, int threads) {
    if (row_length < 1 || row_length > kMaxChunkValues) throw nb::value_error("row_length must lie in 1 .. 2^22");
    return {max_effort, row_length, threads};
}

Output output_of(int number) {
    if (number < 0 || number > 3) throw nb::value_error("unknown output type");
    return Output(number);
}

}  // namespace taut::bindings
