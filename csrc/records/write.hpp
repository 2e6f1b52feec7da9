// What a header of records says of its fields, chosen from counts.
#pragma once
#include "records/layout.hpp"

namespace taut {

// How often each symbol occurs in each bucket.
using BucketCounts = std::vector<std::array<uint64_t, 256>>;

// How a field is coded: frequencies of elements by context; none: raw.
struct FieldPlan {
    std::vector<std::array<uint16_t, 256>> contexts;
    std::array<uint8_t, 64> map{};
};

// The cheapest way to code a field whose symbols were counted.
FieldPlan plan_field(const RecordField& field, const BucketCounts& counts);

// The header; makes the array's tables and tells its fields how they are coded.
std::vector<uint8_t> write_records_header(ArrayHeader& header, const std::vector<FieldPlan>& plans);

}  // namespace taut
