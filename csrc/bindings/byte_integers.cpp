// Rounded arrays that are held as integers of a byte each.
#include "codec/byte_integers.hpp"

#include "bindings/bindings.hpp"

namespace taut::bindings {
namespace {

using Output8 = Array<uint8_t>;
using Numbers = Array<const int64_t>;

// Holds callers to what is there, and to its size.
class Held {
public:
    Held(Input header, uint64_t nbytes, const std::string& kernels)
        : integers_({header.data(), header.size()}, nbytes, kernels_named(kernels)) {}
    bool take(Input chunk) {
        nb::gil_scoped_release release;
        return integers_.take({chunk.data(), chunk.size()});
    }
    bool complete() const { return integers_.complete(); }
    uint64_t held_bytes() const { return integers_.held_bytes(); }
    void put(uint64_t begin, uint64_t end, Output8 out) const {
        check_complete();
        if (begin > end || end > integers_.count()) throw nb::value_error("no such values");
        check_size(out, end - begin);
        nb::gil_scoped_release release;
        integers_.put(begin, end, out.data());
    }
    void put_rows(Numbers rows, uint64_t length, Output8 out) const {
        check_complete();
        if (length < 1 || length > integers_.count()) throw nb::value_error("no such rows");
        const uint64_t there = integers_.count() / length;
        for (size_t i = 0; i < rows.size(); i++)
            if (uint64_t(rows.data()[i]) >= there) throw nb::value_error("no such row");
        if (out.size() / length / uint64_t(integers_.width()) < rows.size()) throw nb::value_error("out is too small");
        nb::gil_scoped_release release;
        for (size_t i = 0; i < rows.size(); i++) {
            const uint64_t begin = uint64_t(rows.data()[i]) * length;
            integers_.put(begin, begin + length, out.data() + i * length * uint64_t(integers_.width()));
        }
    }

private:
    ByteIntegers integers_;

    void check_complete() const {
        if (!complete()) throw nb::value_error("not all chunks were taken");
    }
    void check_size(const Output8& out, uint64_t values) const {
        if (out.size() != values * uint64_t(integers_.width())) throw nb::value_error("out is not of these values' size");
    }
};

}  // namespace

void bind_byte_integers(nb::module_& m) {
    nb::class_<Held>(m, "ByteIntegers", "A rounded array as its grid's integers, a byte each; gives its values.")
        .def(nb::init<Input, uint64_t, const std::string&>(), nb::arg("header"), nb::arg("nbytes"), nb::arg("kernels") = "")
        .def("take", &Held::take, nb::arg("chunk"))
        .def("complete", &Held::complete)
        .def("held_bytes", &Held::held_bytes)
        .def("put", &Held::put, nb::arg("begin"), nb::arg("end"), nb::arg("out"))
        .def("put_rows", &Held::put_rows, nb::arg("rows"), nb::arg("length"), nb::arg("out"));
}

}  // namespace taut::bindings
