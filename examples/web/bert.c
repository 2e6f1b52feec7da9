/* The operations of BERT in float32, for WebAssembly with 128-bit vectors: what bert.js calls. prepare.py compiles it.
 * Matrices are rows of floats; lengths of rows are multiples of 4. Nothing is allocated here. */
typedef float four __attribute__((vector_size(16), aligned(4)));

static float sum(four v) { return (v[0] + v[1]) + (v[2] + v[3]); }
static const four *at(const float *x) { return (const four *)x; }

static float exponential(float x) {
    if (x < -87.0f) return 0;
    const float n = __builtin_rintf(x * 1.44269504f);
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691e-4f;
    p = p * r + 1.3981999e-3f;
    p = p * r + 8.3334519e-3f;
    p = p * r + 4.1665796e-2f;
    p = p * r + 1.6666666e-1f;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    union { int i; float f; } two = {((int)n + 127) << 23};
    return p * two.f;
}

/* x * Phi(x); erf by formula 7.1.26 of Abramowitz and Stegun, right to 1.5e-7. */
static float gelu(float x) {
    const float a = __builtin_fabsf(x) * 0.70710678f, t = 1.0f / (1.0f + 0.3275911f * a);
    const float p = ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
    const float erf = 1.0f - p * exponential(-a * a);
    return 0.5f * x * (1.0f + (x < 0 ? -erf : erf));
}

/* y[i][j .. j+1] of four rows i: eight sums at a time keep the multipliers busy. */
static void tile(const float *x, const float *w, const float *b, float *y, int n, int k) {
    four s[4][2] = {0};
    for (int c = 0; c < k; c += 4) {
        const four w0 = *at(w + c), w1 = *at(w + k + c);
        for (int i = 0; i < 4; i++) {
            const four v = *at(x + i * k + c);
            s[i][0] += v * w0;
            s[i][1] += v * w1;
        }
    }
    for (int i = 0; i < 4; i++) {
        y[i * n] = sum(s[i][0]) + b[0];
        y[i * n + 1] = sum(s[i][1]) + b[1];
    }
}

/* y = x w' + b: x has m >= 4 rows of k, w n >= 2 rows of k. The last tile lies over the one before where it has to. */
void linear(const float *x, const float *w, const float *b, float *y, int m, int n, int k, int with_gelu) {
    for (int j = 0; j < n; j += 2) {
        const int column = j + 2 <= n ? j : n - 2;
        for (int i = 0; i < m; i += 4) {
            const int row = i + 4 <= m ? i : m - 4;
            tile(x + row * k, w + column * k, b + column, y + row * n + column, n, k);
        }
    }
    for (int i = 0; with_gelu && i < m * n; i++) y[i] = gelu(y[i]);
}

/* One text of m tokens: q, key, v and out have rows of `size`, cut into heads; p has room for m numbers. */
void attend(const float *q, const float *key, const float *v, float *out, float *p, int m, int size, int heads) {
    const int width = size / heads;
    const float scale = 1.0f / __builtin_sqrtf((float)width);
    for (int h = 0; h < heads; h++) {
        const int from = h * width;
        for (int i = 0; i < m; i++) {
            float most = -3e38f, total = 0;
            for (int j = 0; j < m; j++) {
                four s = {0};
                for (int c = from; c < from + width; c += 4) s += *at(q + i * size + c) * *at(key + j * size + c);
                p[j] = sum(s) * scale;
                most = p[j] > most ? p[j] : most;
            }
            for (int j = 0; j < m; j++) total += p[j] = exponential(p[j] - most);
            for (int c = from; c < from + width; c += 4) {
                four s = {0};
                for (int j = 0; j < m; j++) s += *at(v + j * size + c) * p[j];
                *(four *)(out + i * size + c) = s / total;
            }
        }
    }
}

/* x = norm(x + more) * g + b, row by row. */
void add_norm(float *x, const float *more, const float *g, const float *b, int m, int n, float epsilon) {
    for (int i = 0; i < m; i++, x += n, more += n) {
        double mean = 0, square = 0;
        for (int c = 0; c < n; c++) mean += x[c] += more[c];
        mean /= n;
        for (int c = 0; c < n; c++) square += (x[c] - mean) * (x[c] - mean);
        const float by = 1.0f / __builtin_sqrtf((float)(square / n) + epsilon);
        for (int c = 0; c < n; c++) x[c] = (x[c] - (float)mean) * by * g[c] + b[c];
    }
}
