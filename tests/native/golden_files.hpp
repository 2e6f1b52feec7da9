// The golden files, and the base that the deltas among them stand on.
#pragma once
#include <taut.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace golden {

using Bytes = std::vector<uint8_t>;

inline Bytes read(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return Bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
}

inline std::vector<Bytes> files() {
    std::vector<Bytes> found;
    for (const char* folder : {"/files", "/deltas"})
        for (const auto& entry : std::filesystem::directory_iterator(std::string(TAUT_GOLDEN) + folder))
            if (entry.path().string().ends_with(".taut.safetensors")) found.push_back(read(entry.path()));
    return found;
}

// A tensor of deltas/base.safetensors, found by its name alone.
inline int read_base(void*, const char* name, size_t name_size, const char*, const uint64_t*, uint32_t, void* to, size_t size) {
    static const Bytes base = read(std::string(TAUT_GOLDEN) + "/deltas/base.safetensors");
    uint64_t length;
    std::memcpy(&length, base.data(), 8);
    const std::string header(base.begin() + 8, base.begin() + 8 + std::ptrdiff_t(length));
    const size_t at = header.find('"' + std::string(name, name_size) + "\":{");
    if (at == std::string::npos) return 1;
    char* end;
    const uint64_t begin = std::strtoull(header.c_str() + header.find("\"data_offsets\":[", at) + 16, &end, 10);
    if (std::strtoull(end + 1, nullptr, 10) - begin != size) return 1;
    if (size) std::memcpy(to, base.data() + 8 + length + begin, size);
    return 0;
}

}  // namespace golden
