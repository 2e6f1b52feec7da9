// Where raw bits of values lie, for instructions that shuffle bytes and shift lanes of 32 bits each by its own amount.
#pragma once
#include <cstdint>

namespace taut {
namespace {

// Eight fields of `bits` <= 25 each stand in `bits` bytes: each half of a plan takes four of them by a byte shuffle, the second
// one from `bits` / 2 bytes on.
constexpr int kMostField = 25;

struct FieldPlan {
    alignas(32) uint8_t from[32]{};
    alignas(32) uint32_t by[8]{};
    constexpr explicit FieldPlan(int bits = 0) {
        for (int k = 0; k < 8; k++) {
            const int bit = k < 4 ? k * bits : k * bits - 8 * (bits / 2);
            for (int b = 0; b < 4; b++) from[4 * k + b] = uint8_t(bit / 8 + b);
            by[k] = uint32_t(bit % 8);
        }
    }
};

struct FieldPlans {
    FieldPlan of[kMostField + 1];
    constexpr FieldPlans() {
        for (int bits = 0; bits <= kMostField; bits++) of[bits] = FieldPlan(bits);
    }
};
constexpr FieldPlans plans;

}  // namespace
}  // namespace taut
