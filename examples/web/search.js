// Semantic search: each line of the text and the question become vectors; the nearest lines come first.
import {Bar, fetched} from "./bar.js";
import {loadNetwork, ort} from "./model.js";
import {WordPiece} from "./wordpiece.js";

const one = (selector) => document.querySelector(selector);
const AT_ONCE = 16;

/** Vectors of unit length, one a text: the mean over its tokens. */
export async function embed(session, words, texts) {
    const found = [];
    for (let begin = 0; begin < texts.length; begin += AT_ONCE) {
        const rows = texts.slice(begin, begin + AT_ONCE).map((text) => words.encode(text));
        const length = Math.max(...rows.map((row) => row.length));
        const filled = (value) => new ort.Tensor("int64",
            BigInt64Array.from(rows.flatMap((row) => Array.from({length}, (_, k) => BigInt(value(row, k))))), [rows.length, length]);
        const every = {
            input_ids: filled((row, k) => row[k] ?? 0), attention_mask: filled((row, k) => Number(k < row.length)),
            token_type_ids: filled(() => 0)
        };
        const feed = Object.fromEntries(session.inputNames.map((name) => [name, every[name]]));
        const {data, dims: [, , size]} = (await session.run(feed))[session.outputNames[0]];
        for (const [at, row] of rows.entries()) {
            const vector = new Float32Array(size);
            for (let k = 0; k < row.length; k++) {
                for (let j = 0; j < size; j++)
                    vector[j] += data[(at * length + k) * size + j];
            }
            const norm = Math.hypot(...vector);
            found.push(vector.map((value) => value / norm));
        }
    }
    return found;
}

async function begin() {
    const bar = new Bar(one("#bar"), one("#said"));
    const models = await (await fetch("models.json")).json();
    const name = new URLSearchParams(location.search).get("model") ?? models.search.use;
    const hear = (file, progress) => bar.file(file, progress);
    const [session, vocabulary] = await Promise.all([
        loadNetwork(models.search.ways[name], hear),
        fetched(models.search.vocabulary, (progress) => hear("vocabulary", progress))
    ]);
    const words = new WordPiece(new TextDecoder().decode(vocabulary));
    let known = "", lines = [], vectors = [];

    async function answer() {
        const text = one("#text").value;
        if (text !== known) {
            lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
            vectors = await embed(session, words, lines);
            known = text;
        }
        const [asked] = await embed(session, words, [one("#asked").value]);
        const near = vectors.map((vector, k) => [vector.reduce((sum, value, j) => sum + value * asked[j], 0), lines[k]]);
        near.sort((a, b) => b[0] - a[0]);
        one("#found").replaceChildren(...near.slice(0, 5).map(([cosine, line]) => {
            const item = document.createElement("li");
            const number = document.createElement("span");
            number.textContent = cosine.toFixed(2);
            item.append(number, line);
            return item;
        }));
        return near;
    }

    let last = Promise.resolve();
    const again = () => { last = last.then(answer); };
    const near = await answer();
    const seconds = bar.answered("first answer");
    one("#asked").addEventListener("input", again);
    one("#text").addEventListener("change", again);
    // Who measures the page (bench/web) listens here.
    window.dispatchEvent(new CustomEvent("answered", {detail: {seconds, near: near.slice(0, 5), name}}));
}

begin().catch((error) => {
    one("#said").textContent = `${error.message ?? error}`;
    window.dispatchEvent(new CustomEvent("answered", {detail: {error: String(error?.stack ?? error)}}));
});
