/* Decodes a tensor of a Taut file and prints its mean: cc mean.c -ltaut && ./a.out FILE TENSOR */
#include <stdio.h>
#include <stdlib.h>
#include <taut.h>

int main(int argc, char **argv) {
    taut_file *file = NULL;
    taut_error error = {TAUT_OK, "usage: mean FILE TENSOR"};
    size_t number;
    uint64_t bytes;
    if (argc != 3 || taut_open_path(argv[1], NULL, &file, &error)) return fprintf(stderr, "%s\n", error.text), 1;
    if (taut_find(file, argv[2], &number)) return fprintf(stderr, "no such tensor\n"), 1;
    if (taut_size(file, number, UINT64_MAX, TAUT_AS_FLOAT32, &bytes)) return fprintf(stderr, "no floats\n"), 1;
    float *values = malloc(bytes + 1);
    if (!values || taut_decode(file, number, TAUT_AS_FLOAT32, values, bytes, &error)) return fprintf(stderr, "%s\n", error.text), 1;
    double sum = 0;
    for (size_t i = 0; i < bytes / 4; i++) sum += values[i];
    printf("%zu values, mean %g\n", (size_t)(bytes / 4), sum / (double)(bytes / 4));
    free(values);
    taut_close(file);
    return 0;
}
