// BERT's encoder on the weights of a Taut file, by a few kilobytes of WebAssembly (bert.c): what a page loads instead of a
// runtime for all networks, where it has this one alone.
const EPSILON = 1e-12;
const LEAST = 4;  // rows that a multiplication takes
const AT_ONCE = 32;  // texts
const WORDS = "embeddings.word_embeddings.weight";

/** The sizes of an encoder, from the shapes of its tensors: all that it takes are there, and no others. */
function measured(parts, heads) {
    const shapes = new Map(parts.map(({name, shape}) => [name, shape]));
    const bad = (what) => { throw new Error(`the file is no encoder of BERT's kind: ${what}`); };
    const shape = (name) => shapes.get(name) ?? bad(`it has no "${name}"`);
    const [words, size] = shape(WORDS);
    const [most] = shape("embeddings.position_embeddings.weight");
    const [kinds] = shape("embeddings.token_type_embeddings.weight");
    const [inner] = shape("encoder.layer.0.intermediate.dense.weight");
    const layers = parts.filter(({name}) => name.endsWith("intermediate.dense.bias")).length;
    if (!(words > 0 && most > 0 && kinds > 0 && size > 0 && size % (4 * heads) === 0 && inner > 0 && inner % 4 === 0))
        bad(`rows of ${size} and ${inner} for ${heads} heads`);
    const wanted = new Map([["word", words], ["position", most], ["token_type", kinds]].map(([of, rows]) =>
        [`embeddings.${of}_embeddings.weight`, [rows, size]]));
    const linear = (name, rows, columns) => wanted.set(`${name}.weight`, [rows, columns]).set(`${name}.bias`, [rows]);
    const norm = (name) => wanted.set(`${name}.weight`, [size]).set(`${name}.bias`, [size]);
    norm("embeddings.LayerNorm");
    for (let layer = 0; layer < layers; layer++) {
        const of = `encoder.layer.${layer}`;
        for (const name of ["self.query", "self.key", "self.value", "output.dense"])
            linear(`${of}.attention.${name}`, size, size);
        linear(`${of}.intermediate.dense`, inner, size);
        linear(`${of}.output.dense`, size, inner);
        norm(`${of}.attention.output.LayerNorm`);
        norm(`${of}.output.LayerNorm`);
    }
    for (const [name, sizes] of wanted) {
        if (`${shape(name)}` !== `${sizes}`)
            bad(`"${name}" is ${shape(name).join(" x ")}, not ${sizes.join(" x ")}`);
    }
    for (const name of shapes.keys())
        wanted.has(name) || bad(`what is "${name}"?`);
    return {words, size, most, inner, layers};
}

export class Bert {
    #code;
    #at = {};  // by name: where the tensor lies, in bytes
    #top;
    #file;
    #known = new Map();  // rows of the table of words, by id

    /**
     * `module` is bert.c, compiled; `file` an open Taut file, which stays open: every tensor is decoded now but the table of words,
     * whose rows are when a text has them. Throws where it is no such encoder.
     */
    static async from(module, file, {heads}) {
        const bert = new Bert();
        const parts = file.tensors.filter(({name, dtype}) => /^(embeddings|encoder)\./.test(name) && /^B?F\d+$/.test(dtype));
        Object.assign(bert, {heads, ...measured(parts, heads)});
        const {exports} = await WebAssembly.instantiate(module, {});
        bert.#code = exports;
        bert.#top = (exports.__heap_base.value + 15) & ~15;
        bert.#file = file;
        for (const {name} of parts) {
            if (name !== WORDS)
                bert.#at[name] = bert.#put(await file.get(name, {as: "float32"}));
        }
        return bert;
    }

    /** Vectors of unit length: the mean of a text's tokens, one for each row of ids. */
    async embed(rows) {
        const {words, most} = this;
        if (rows.some((row) => row.length < 1 || row.length > most || row.some((id) => !(Number.isInteger(id) && id >= 0 && id < words))))
            throw new Error(`a text has no tokens, or more than ${most}, or others than the encoder's ${words}`);
        await this.#meet(rows.flat());
        const found = [];
        for (let begin = 0; begin < rows.length; begin += AT_ONCE)
            found.push(...this.#vectors(rows.slice(begin, begin + AT_ONCE)));
        return found;
    }

    /** Have the words' rows that no text had before, all at once: each chunk of the table is decoded once for them. */
    async #meet(ids) {
        const fresh = [...new Set(ids)].filter((id) => !this.#known.has(id));
        if (fresh.length === 0)
            return;
        const values = await this.#file.gather(WORDS, fresh, {as: "float32"});
        for (const [k, id] of fresh.entries())
            this.#known.set(id, values.subarray(k * this.size, (k + 1) * this.size));
    }

    #vectors(rows) {
        const {size, inner} = this;
        const counts = rows.map((row) => row.length);
        const tokens = Math.max(LEAST, counts.reduce((sum, one) => sum + one, 0));
        const bottom = this.#top;
        const [x, q, k, v, mixed, more] = [0, 0, 0, 0, 0, 0].map(() => this.#room(tokens * size));
        const [wide, scores] = [this.#room(tokens * inner), this.#room(this.most)];
        this.#look(rows, x, more);
        this.#norm(x, more, "embeddings.LayerNorm", tokens);
        for (let layer = 0; layer < this.layers; layer++) {
            const of = `encoder.layer.${layer}`;
            for (const [name, to] of [["query", q], ["key", k], ["value", v]])
                this.#linear(x, `${of}.attention.self.${name}`, to, tokens, size, size);
            let from = 0;
            for (const count of counts) {
                const at = 4 * from * size;
                this.#code.attend(q + at, k + at, v + at, mixed + at, scores, count, size, this.heads);
                from += count;
            }
            this.#linear(mixed, `${of}.attention.output.dense`, more, tokens, size, size);
            this.#norm(x, more, `${of}.attention.output.LayerNorm`, tokens);
            this.#linear(x, `${of}.intermediate.dense`, wide, tokens, inner, size, 1);
            this.#linear(wide, `${of}.output.dense`, more, tokens, size, inner);
            this.#norm(x, more, `${of}.output.LayerNorm`, tokens);
        }
        this.#top = bottom;
        return this.#means(counts, x);
    }

    /** The sum of what words, places and kinds stand for: of words in `x`, of the rest in `more`. */
    #look(rows, x, more) {
        const {size} = this;
        const floats = new Float32Array(this.#code.memory.buffer);
        const places = this.#at["embeddings.position_embeddings.weight"] / 4;
        const kind = floats.subarray(this.#at["embeddings.token_type_embeddings.weight"] / 4).subarray(0, size);
        let to = 0;
        for (const row of rows) {
            for (const [place, id] of row.entries()) {
                floats.set(this.#known.get(id), x / 4 + to);
                for (let c = 0; c < size; c++)
                    floats[more / 4 + to + c] = floats[places + place * size + c] + kind[c];
                to += size;
            }
        }
    }

    #means(counts, x) {
        const {size} = this;
        const floats = new Float32Array(this.#code.memory.buffer);
        let from = x / 4;
        return counts.map((count) => {
            const mean = new Float32Array(size);
            for (const end = from + count * size; from < end; from += size) {
                for (let c = 0; c < size; c++)
                    mean[c] += floats[from + c];
            }
            const length = Math.hypot(...mean);
            return mean.map((one) => one / length);
        });
    }

    #linear(from, name, to, rows, columns, length, gelu = 0) {
        this.#code.linear(from, this.#at[`${name}.weight`], this.#at[`${name}.bias`], to, rows, columns, length, gelu);
    }

    #norm(x, more, name, rows) {
        this.#code.add_norm(x, more, this.#at[`${name}.weight`], this.#at[`${name}.bias`], rows, this.size, EPSILON);
    }

    #put(values) {
        const at = this.#room(values.length);
        new Float32Array(this.#code.memory.buffer, at, values.length).set(values);
        return at;
    }

    /** Room for so many floats. */
    #room(count) {
        const at = this.#top;
        this.#top += (4 * count + 15) & ~15;
        const {memory} = this.#code;
        const lacking = this.#top - memory.buffer.byteLength;
        if (lacking > 0)
            memory.grow(Math.ceil(lacking / 65536));
        return at;
    }
}
