// Header and index of a file, each checked before it is read.
#include "capi/file.hpp"
#include "capi/inflate.hpp"

namespace taut::capi {
namespace {

constexpr uint64_t kMaxHeader = 100000000, kMaxIndex = 100000000;  // bytes; of an index once it is inflated
constexpr uint64_t kMaxStored = 2 * kMaxIndex + kInside;          // and as it lies in the file
constexpr char kStart[] = "{\"__metadata__\":{\"taut\":\"";  // then the version
constexpr char kChecksum[] = "\",\"checksum\":\"", kIndex[] = "\",\"index\":\"";
constexpr size_t kVersionAt = sizeof kStart - 1, kSumAt = kVersionAt + sizeof kChecksum,
                 kIndexAt = kSumAt + 16 + sizeof kIndex - 1;

struct Header {
    int version = 0;
    uint64_t index_sum = 0;
};

// The bytes that a header starts with, and its checksum.
bool check_header(uint8_t* raw, size_t n, Header& found, Fail& fail) {
    const char* text = reinterpret_cast<const char*>(raw);
    if (n < kIndexAt + 18 || std::memcmp(text, kStart, kVersionAt) != 0)
        return fail.format("header: not a Taut file (no taut version at its start)");
    const char version = text[kVersionAt];
    if ((version != '1' && version != '2') || text[kVersionAt + 1] != '"')
        return fail.format("header: a format version that this library does not read (1 and 2); update it");
    found.version = version - '0';
    uint64_t sum;
    const char end = text[kIndexAt + 17];
    if (std::memcmp(text + kVersionAt + 1, kChecksum, sizeof kChecksum - 1) != 0 || !take_digits(text + kSumAt, sum) ||
        std::memcmp(text + kSumAt + 16, kIndex, sizeof kIndex - 1) != 0 ||
        !take_digits(text + kIndexAt, found.index_sum) || text[kIndexAt + 16] != '"' || (end != ',' && end != '}'))
        return fail.format("header: does not begin as that of a Taut file");
    char digits[16];
    std::memcpy(digits, raw + kSumAt, 16);
    std::memset(raw + kSumAt, '0', 16);
    const uint64_t real = checksum(raw, n);
    std::memcpy(raw + kSumAt, digits, 16);
    return real == sum || fail.set(TAUT_ERROR_CHECKSUM, "header (bytes 8..%zu) does not match its checksum", 8 + n);
}

bool read_index(taut_file& file, const Entry& entry, const Header& header, Entries& entries, uint64_t body,
                Fail& fail) {
    Block blob(file.memory), text(file.memory);
    if (entry.bytes() > kMaxStored)
        return fail.format("index: %llu bytes, more than one may have", (unsigned long long)entry.bytes());
    const size_t size = size_t(entry.bytes());
    const uint8_t* data = file.source.bytes(entry.begin, size, blob, fail);
    if (!data) return false;
    if (checksum(data, size) != header.index_sum)
        return fail.set(TAUT_ERROR_CHECKSUM, "index (%zu bytes at offset %llu) does not match its checksum", size,
                        (unsigned long long)entry.begin);
    const uint64_t may = (uint64_t(1) << 18) + 50 * uint64_t(size), limit = may < kMaxIndex ? may : kMaxIndex;
    const Text stream{reinterpret_cast<const char*>(data), size};
    Inflated found;
    const bool good = header.version == 2 ? inflate(stream, index_dictionary(), limit, text, found, fail)
                                          : inflate_zlib(stream, limit, text, found, fail);
    if (!good) return fail.within("index");
    if (header.version == 1 && found.used != size) return fail.format("index: bytes after the end of the stream");
    Arena trees(file.memory);
    const Json* tree = read_json(reinterpret_cast<char*>(text.data()), found.size, trees, fail);
    if (!tree) return fail.within("index");
    return parse_index(*tree, header.version, file.arena, file.contents, fail) &&
           bind(file.contents, entries, body, entry.begin + found.used, {data + found.used, size - found.used}, file.arena, fail);
}

}  // namespace

bool open_contents(taut_file& file, Fail& fail) {
    uint8_t first[8] = {};
    if (file.source.size() < 10)
        return fail.format("%llu bytes; a Taut file has more", (unsigned long long)file.source.size());
    if (!file.source.read(0, first, 8, fail)) return false;
    const uint64_t length = load64(first);
    if (length > kMaxHeader)
        return fail.format("header length %llu is over the limit of 100000000: damaged, or no Taut file",
                           (unsigned long long)length);
    if (length > file.source.size() - 8)
        return fail.format("header length %llu reaches beyond the file of %llu bytes: it is cut short or damaged",
                           (unsigned long long)length, (unsigned long long)file.source.size());
    Block raw(file.memory);
    if (!raw.resize(size_t(length) + 1)) return fail.memory();
    if (!file.source.read(8, raw.data(), size_t(length), fail)) return false;
    Header header;
    if (!check_header(raw.data(), size_t(length), header, fail)) return false;
    Arena arena(file.memory);
    Entries entries;
    const uint64_t body = 8 + length;
    if (!read_entries(reinterpret_cast<char*>(raw.data()), size_t(length), body, file.source.size(), arena, entries,
                      fail))
        return false;
    if (entries.all.size == 0 || entries.all[entries.all.size - 1].dtype->number != Number::u8)
        return fail.format("header: the last entry is no index");
    Entry& index = entries.all[entries.all.size - 1];
    index.taken = true;
    return read_index(file, index, header, entries, body, fail);
}

}  // namespace taut::capi
