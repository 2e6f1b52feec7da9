// The table of contents (docs/format.md, 4): what the index says, and where the header has it.
#pragma once
#include "base/bytes.hpp"
#include "capi/checksum.hpp"
#include "capi/entries.hpp"
#include "capi/json.hpp"

namespace taut::capi {

constexpr uint64_t kGroup = uint64_t(1) << 22;    // decoded bytes of a solid group, at most
constexpr uint64_t kInside = uint64_t(1) << 13;   // bytes of the pack behind the index, at most
constexpr uint64_t kLargest = uint64_t(1) << 48;  // decoded bytes of a tensor, at most
constexpr uint32_t kNone = UINT32_MAX;

struct Part {
    uint64_t bytes, sum;  // of a pack's: as it was when all of the pack was checked
};
struct Parts {
    Part* data = nullptr;
    size_t size = 0;
    uint64_t bytes = 0;  // of all
};

// Where a coded array or a kept tensor lies.
struct Place {
    Text name;
    Parts parts;            // none: kept
    uint64_t begin = 0;     // byte of the file
    uint64_t padding = 0;   // zeros behind the parts
    uint64_t sum = 0;       // of the decoded bytes; not of a pack's members
    uint32_t pack = kNone;  // the pack that it is in
    uint32_t member = 0;    // its number there
    Place* next = nullptr;  // the member behind it
};

struct Group {
    Place place;
    const Dtype* dtype;
    bool base;  // its members stand on the base's tensors
    uint64_t members_end = 0;  // where the last of its tensors ends
};

struct Pack {
    Text name;  // none: behind the index
    bool named;
    bool sound;  // its checksum was seen to match
    uint64_t checksum, sum;
    uint64_t begin = 0, bytes = 0, padding = 0;
    uint32_t members = 0, first_member = 0;  // of all packs' members
    Place *first = nullptr, *last = nullptr;  // its members, end to end
};

// Notes the checksum of each part of a pack as its bytes come, so that a file that changes later is told.
class PackParts {
public:
    explicit PackParts(const Pack& pack) : place_(pack.first) { end_parts(); }
    void take(const uint8_t* data, size_t n);

private:
    Place* place_;
    size_t part_ = 0;
    uint64_t done_ = 0;  // bytes of the part
    Checksum sum_;

    void end_parts();
};

enum class Store : uint8_t { coded, packed, kept, solid, alias, base };
// How the base's tensor is needed, beside the stored values.
enum class OnBase : uint8_t { none, delta, sum };
constexpr uint32_t kDeepestBase = 16;  // deltas that stand on one another

struct Record {
    Place place;  // with the name; of coded, packed and kept tensors
    Store store;
    bool tied;
    const Dtype *dtype, *stored;           // `stored`: of the values as they lie in the file
    const uint64_t *shape, *stored_shape;  // pairs of a complex tensor: their last axis is twice as long
    uint32_t dimensions, stored_dimensions;
    uint32_t solid;  // number of the group
    uint64_t at;     // first byte in the decoded group
    uint64_t values, bytes, stored_bytes;
    Text scheme, of;  // `of`: whose data an alias repeats
    uint32_t target;  // its number
    double error;
    OnBase on_base;
    uint64_t base_sum;
    Text base_name;  // none: the tensor's own
    Text name() const { return place.name; }
    bool is_pairs() const { return stored_shape != shape; }
};

struct OriginalFile {
    Text name, text;
    bool whole;  // false: the header is to be made from the records
};
struct Attribute {
    Text module, name;
    int64_t value;
};
struct Metadata {
    Text key, value;
};

struct Contents {
    List<Record> records;
    List<Group> groups;
    List<Pack> packs;
    uint32_t packed = 0;  // members of all packs
    uint32_t* by_name = nullptr;
    List<OriginalFile> files, texts;
    List<Metadata> metadata;
    List<Attribute> attributes;
    Text base;  // what a delta's base was called
    uint32_t find(Text name) const;  // number of the record; kNone: there is none
};

// Reads the text of an index. Everything that is kept is in `arena`; the tree may go afterwards, but for its strings,
// which lie in the text.
bool parse_index(const Json& tree, int version, Arena& arena, Contents& found, Fail& fail);
bool parse_source(const Json& tree, int version, Arena& arena, Contents& found, Fail& fail);
bool parse_modules(const Json& tree, Arena& arena, Contents& found, Fail& fail);
bool parse_rows(const Json& tree, int version, Arena& arena, Contents& found, Fail& fail);
bool parse_parts(const Json& list, const char* where, Arena& arena, Parts& parts, Fail& fail);
bool parse_lengths(const Json& list, const char* where, Arena& arena, Parts& parts, Fail& fail);

// Holds the index against the header: afterwards each tensor has a checked place. `rest` is where the index's stream
// ends in the file, `behind` the bytes behind it in its entry.
bool bind(Contents& contents, Entries& entries, uint64_t body, uint64_t rest, ConstBytes behind, Arena& arena, Fail& fail);

}  // namespace taut::capi
