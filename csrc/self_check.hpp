// Wide decoders are tried once before they are trusted: they are many, and not every processor was at hand.
#pragma once
#include "kernels.hpp"

namespace taut {

// Whether both decode some small arrays of every coder, width and kind to the same bytes; takes about a millisecond.
bool decodes_alike(const Kernels& a, const Kernels& b);

}  // namespace taut
