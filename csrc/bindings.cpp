#include <nanobind/nanobind.h>

namespace nb = nanobind;

NB_MODULE(_core, m) {
  m.doc() = "Laconic's native core: bytes and integers in, bytes and integers out.";
  m.def("version", [] { return 1; }, "Revision of the core's interface.");
}
