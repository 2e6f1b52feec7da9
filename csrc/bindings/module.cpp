// The module, and what it says of its kernels.
#include "bindings/bindings.hpp"
#include "codec/codec.hpp"

namespace taut::bindings {
namespace {

nb::tuple rate(const std::string& kernels, bool dense, double deviation, int repeats, bool trellis) {
    const CoreRate r = core_rate(kernels_named(kernels), dense, deviation, repeats, trellis);
    return nb::make_tuple(r.seconds, r.entropy, r.coded);
}

std::vector<std::string> kernel_names() {
    std::vector<std::string> names;
    for (const Kernels* k : all_kernels()) names.emplace_back(k->name);
    return names;
}

void bind_kernels(nb::module_& m) {
    m.def("core_rate", &rate, nb::arg("kernels"), nb::arg("dense"), nb::arg("deviation"), nb::arg("repeats"),
          nb::arg("trellis") = false,
          "(seconds, entropy bits, coded bits) per symbol of the symbol decoder alone, from cache.");
    m.def("kernels", &kernel_names, "Names of the decoders that this processor can run, the portable one first.");
}

}  // namespace
}  // namespace taut::bindings

NB_MODULE(_core, m) {
    using namespace taut::bindings;
    m.doc() = "Taut's native core: bytes and integers in, bytes and integers out.";
    nb::exception<taut::FormatError>(m, "CoreFormatError");
    for (const auto bind : {bind_decode, bind_device, bind_byte_integers, bind_words, bind_indices, bind_matrix,
                            bind_records, bind_round, bind_kernels})
        bind(m);
}
