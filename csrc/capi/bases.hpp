// What a delta stands on: tensors that the program gives, or another open file.
#pragma once
#include "capi/file.hpp"

namespace taut::capi {

// Has a file decode deltas with another one's tensors from now on; null: with none.
bool stand_on(taut_file& file, taut_file* base, Fail& fail);
// The base's tensor that a record asks for, checked, in `block`.
bool read_base(taut_file& file, const Record& record, Block& block, Fail& fail);
// Those of a solid group's members, one after the other.
bool read_group_base(taut_file& file, uint32_t number, Block& block, Fail& fail);
// The stored differences of values that are wanted, to `sink` as `as`, added to the base's.
bool read_sums(taut_file& file, const Record& record, const Wanted& wanted, const Dtype& as, Sink& sink, Fail& fail);

}  // namespace taut::capi
