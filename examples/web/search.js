// Semantic search: each line of the text and the question become vectors; the nearest lines come first.
import {Bar, fetched} from "./bar.js";
import {WordPiece} from "./wordpiece.js";

const HEADS = 12;  // of MiniLM
const one = (selector) => document.querySelector(selector);

/** What makes vectors of rows of ids: bert.wasm, or onnxruntime-web where the model is a graph alone, or vectors are lacking. */
async function loadEncoder(way, hear) {
    const weights = way.weights && fetch(way.weights);  // at once; the scripts that read them come meanwhile
    if (way.encoder) {
        const [{Bert}, taut] = await Promise.all([import("./bert.js"), import("./taut/index.js")]);
        if (taut.hasVectors()) {
            const [code, file] = await Promise.all([
                fetched(way.encoder), weights.then((answer) => taut.open(answer, {onProgress: (progress) => hear("model", progress)}))
            ]);
            return Bert.from(await WebAssembly.compile(code), file, {heads: HEADS});
        }
    }
    const {GraphEncoder, loadNetwork} = await import("./model.js");
    return new GraphEncoder(await loadNetwork({...way, weights: await weights}, hear));
}

async function begin() {
    const bar = new Bar(one("#bar"), one("#said"));
    const models = await (await fetch("models.json")).json();
    const name = new URLSearchParams(location.search).get("model") ?? models.search.use;
    const hear = (file, progress) => bar.file(file, progress);
    const [encoder, vocabulary] = await Promise.all([
        loadEncoder(models.search.ways[name], hear),
        fetched(models.search.vocabulary, (progress) => hear("vocabulary", progress))
    ]);
    const words = new WordPiece(new TextDecoder().decode(vocabulary));
    let known = "", lines = [], vectors = [];

    async function answer() {
        const text = one("#text").value, question = one("#asked").value;
        const fresh = text === known ? [] : text.split("\n").map((line) => line.trim()).filter(Boolean);
        const found = await encoder.embed([...fresh, question].map((line) => words.encode(line)));  // of unit length
        const asked = found.pop();
        if (text !== known)
            [known, lines, vectors] = [text, fresh, found];
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
