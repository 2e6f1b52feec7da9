/* Decodes files by libtaut and prints what came of it, for tools/cross.py: the decoder's name, then of each tensor the CRC-32
 * of its bytes, their number and its name. An argument is FILE, or FILE and behind a bar the file of its base: FILE|BASE. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <taut.h>

static uint32_t crc32_of(const unsigned char *bytes, uint64_t size) {
    uint32_t crc = ~0u;
    for (uint64_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static int decode_all(taut_file *file, taut_error *error) {
    for (size_t number = 0; number < taut_count(file); number++) {
        taut_tensor tensor;
        if (taut_describe(file, number, &tensor)) return 1;
        unsigned char *values = malloc(tensor.bytes + 1);
        if (!values || taut_decode(file, number, TAUT_AS_IS, values, tensor.bytes, error)) return 1;
        printf("%08x %llu %s\n", (unsigned)crc32_of(values, tensor.bytes), (unsigned long long)tensor.bytes, tensor.name);
        free(values);
    }
    return taut_verify(file, error);
}

int main(int argc, char **argv) {
    printf("%s\n", taut_decoder_name());
    for (int i = 1; i < argc; i++) {
        taut_error error = {TAUT_OK, ""};
        taut_file *file = NULL, *base = NULL;
        char *bar = strchr(argv[i], '|');
        if (bar) *bar = 0;
        int wrong = taut_open_path(argv[i], NULL, &file, &error);
        if (!wrong && bar) wrong = taut_open_path(bar + 1, NULL, &base, &error) || taut_stand_on_file(file, base, &error);
        if (wrong || decode_all(file, &error)) return fprintf(stderr, "%s: %s\n", argv[i], error.text), 1;
        taut_close(file);
        taut_close(base);
    }
    return 0;
}
