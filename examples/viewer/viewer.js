// The page: files that are dropped, or that `taut view` put into it. Nothing leaves it.
"use strict";

(() => {
    const one = (selector) => document.querySelector(selector);
    const svgOf = (name, attributes, ...children) => build(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
    const html = (name, attributes, ...children) => build(document.createElement(name), attributes, children);
    function build(node, attributes = {}, children = []) {
        for (const [key, value] of Object.entries(attributes))
            node.setAttribute(key, value);
        node.append(...children);
        return node;
    }

    const UNITS = ["B", "kB", "MB", "GB", "TB"];
    function size(bytes) {
        let unit = 0;
        for (; bytes >= 1000 && unit < UNITS.length - 1; unit++)
            bytes /= 1000;
        return `${unit === 0 ? Math.round(bytes) : bytes.toPrecision(3)} ${UNITS[unit]}`;
    }
    // Three significant digits, as reporting/numbers.py has them.
    function short(value) {
        if (value === null || value === 0)
            return value === 0 ? "0" : "";
        const large = Math.abs(value) >= 999.5, tiny = Math.abs(value) < 1e-4;
        return (tiny ? value.toExponential(2) : large ? String(Math.round(value)) : value.toPrecision(3)).replace(/^-/, "−");
    }
    const shapeOf = (tensor) => tensor.shape.join("×") || "scalar";
    const bitsOf = (tensor) => tensor.values > 0 && tensor.sameAs === null ? 8 * tensor.fileBytes / tensor.values : null;
    // Bluer with more bits, and never so much that a text on it could not be read.
    const shade = (bits) => bits === null ? 8 : Math.round(14 + 46 * Math.min(1, Math.log2(1 + bits) / Math.log2(33)));
    const colour = (bits) => `fill: color-mix(in srgb, var(--after) ${shade(bits)}%, Canvas)`;
    const group = (name) => {
        const parts = name.split(".");
        const number = parts.findIndex((part) => /^\d+$/.test(part));
        return number > 0 ? parts.slice(0, number + 1).join(".") : parts.slice(0, Math.max(1, Math.min(2, parts.length - 1))).join(".");
    };

    let shown = null;
    let decoder;

    /** The npm package, where it lies beside this page: it decodes, and checks what it decodes. */
    async function taut() {
        decoder ??= (async () => {
            for (const place of ["./taut/index.js", "../../build/js/index.js"]) {
                try {
                    return await import(new URL(place, document.baseURI).href);
                } catch {
                    continue;
                }
            }
            return null;
        })();
        return decoder;
    }

    async function show(files) {
        one("#said").textContent = "";
        try {
            const opened = [];
            for (const file of files)
                opened.push({file, ...await Viewer.open(file)});
            if (opened.length === 0)
                return;
            const tensors = opened.flatMap((each) => each.tensors.map((tensor) => ({...tensor, file: each.file})));
            shown = {opened, tensors, sort: null, down: false, chosen: null};
            one("#all").hidden = false;
            summary();
            map();
            layers();
            list();
            choose(tensors.reduce((best, tensor) => tensor.fileBytes > best.fileBytes ? tensor : best, tensors[0] ?? null));
        } catch (error) {
            one("#all").hidden = true;
            one("#said").textContent = `${files.map((file) => file.name).join(", ")}: ${error.message}`;
        }
        document.dispatchEvent(new CustomEvent("shown"));
    }

    function summary() {
        const {opened, tensors} = shown;
        const bytes = opened.reduce((sum, each) => sum + each.file.size, 0);
        const values = tensors.reduce((sum, tensor) => sum + (tensor.sameAs === null ? tensor.values : 0), 0);
        const original = opened.every((each) => each.original !== null) ? opened.reduce((sum, each) => sum + each.original, 0) : null;
        const rows = [
            ["file", opened.length === 1 ? opened[0].file.name : `${opened.length} files`], ["format", [...new Set(opened.map((each) => each.format))].join(", ")],
            ["size", size(bytes)], ["tensors", tensors.length.toLocaleString("en")], ["values", values.toLocaleString("en")],
            ["bits a value", short(8 * bytes / Math.max(1, values))]
        ];
        if (original !== null)
            rows.push(["original", `${size(original)}, ${short(original / bytes)}× as large`]);
        if (opened[0].base)
            rows.push(["stands on", opened[0].base]);
        for (const [key, value] of Object.entries(opened[0].metadata ?? {}).slice(0, 40))
            rows.push([key, String(value).slice(0, 200)]);
        one("#summary").replaceChildren(...rows.flatMap(([key, value]) => [html("dt", {}, key), html("dd", {}, value)]));
    }

    function map() {
        const width = Math.max(200, one("#map").clientWidth);  // pixels, so that texts keep their size
        const box = {x: 0, y: 0, width, height: Math.max(260, Math.round(0.4 * width))};
        one("#map").setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
        const groups = new Map();
        for (const tensor of shown.tensors) {
            const name = group(tensor.name);
            groups.set(name, [...groups.get(name) ?? [], tensor]);
        }
        const outer = Viewer.squarify([...groups].map(([name, members]) =>
            ({name, members, size: members.reduce((sum, tensor) => sum + tensor.fileBytes, 0)})), box);
        const nodes = outer.flatMap(({item, ...place}) => {
            const inner = Viewer.squarify(item.members.map((tensor) => ({tensor, size: tensor.fileBytes})), place);
            const cells = inner.map(({item: {tensor}, x, y, width, height}) => {
                const cell = svgOf("rect", {x, y, width, height, style: colour(bitsOf(tensor))},
                    svgOf("title", {}, `${tensor.name}\n${size(tensor.fileBytes)}, ${short(bitsOf(tensor))} bits a value`));
                cell.addEventListener("click", () => choose(tensor));
                return cell;
            });
            const label = place.width > 60 && place.height > 18 ?
                [svgOf("text", {x: place.x + 4, y: place.y + 14}, item.name.slice(0, Math.floor(place.width / 8)))] : [];
            return [...cells, svgOf("rect", {...place, class: "group"}), ...label];
        });
        one("#map").replaceChildren(...nodes);
    }

    function layers() {
        const found = new Map();
        for (const tensor of shown.tensors) {
            if (tensor.sameAs !== null)
                continue;
            const name = group(tensor.name);
            const row = found.get(name) ?? {bytes: 0, values: 0};
            found.set(name, {bytes: row.bytes + tensor.fileBytes, values: row.values + tensor.values});
        }
        const rows = [...found].map(([name, {bytes, values}]) => ({name, bits: values ? 8 * bytes / values : 0}));
        const most = Math.max(...rows.map((row) => row.bits), 1e-9);
        const width = 1000 / Math.max(1, rows.length);
        one("#layers").replaceChildren(...rows.map(({name, bits}, k) => svgOf("rect", {
            x: k * width, y: 120 - 110 * bits / most, width: Math.max(0.5, width - 1), height: 110 * bits / most, style: colour(bits)
        }, svgOf("title", {}, `${name}: ${short(bits)} bits a value`))));
        one("#most").textContent = `The most is ${short(most)} bits, in ${rows.find((row) => row.bits === most)?.name ?? "none"}.`;
    }

    const COLUMNS = [
        ["name", (tensor) => tensor.name], ["dtype", (tensor) => tensor.dtype], ["shape", shapeOf],
        ["scheme", (tensor) => tensor.scheme], ["in the file", (tensor) => tensor.fileBytes], ["bits", bitsOf],
        ["error", (tensor) => tensor.error], ["values", (tensor) => tensor.values]
    ];
    const MOST_ROWS = 1000;

    function list() {
        const asked = one("#search").value.toLowerCase();
        const rows = shown.tensors.filter((tensor) => `${tensor.name} ${tensor.scheme} ${tensor.dtype}`.toLowerCase().includes(asked));
        if (shown.sort !== null) {
            const key = COLUMNS[shown.sort][1];
            const compare = (a, b) => typeof a === "string" ? a.localeCompare(b, "en", {numeric: true}) : (a ?? -1) - (b ?? -1);
            rows.sort((a, b) => (shown.down ? -1 : 1) * compare(key(a), key(b)));
        }
        one("#head").replaceChildren(...COLUMNS.map(([title], k) => {
            const button = html("button", {type: "button"}, title, shown.sort === k ? (shown.down ? " ↓" : " ↑") : " ↕");
            button.addEventListener("click", () => {
                shown.down = shown.sort === k ? !shown.down : k > 3;
                shown.sort = k;
                list();
            });
            const sorted = shown.sort === k ? {"aria-sort": shown.down ? "descending" : "ascending"} : {};
            return html("th", {scope: "col", ...sorted}, button);
        }));
        one("#rows").replaceChildren(...rows.slice(0, MOST_ROWS).map((tensor) => {
            const row = html("tr", {tabindex: 0}, ...COLUMNS.map(([title, key]) => html("td", {"data-head": title}, title === "name" && tensor.sameAs !== null ?
                `${tensor.name} = ${tensor.sameAs}` : title === "in the file" ? size(tensor.fileBytes) :
                    title === "values" ? tensor.values.toLocaleString("en") : typeof key(tensor) === "string" ? key(tensor) : short(key(tensor)))));
            row.addEventListener("click", () => choose(tensor));
            row.addEventListener("keydown", (event) => event.key === "Enter" && choose(tensor));
            return row;
        }));
        one("#count").textContent = `${rows.length} of ${shown.tensors.length} tensors` +
            (rows.length > MOST_ROWS ? `, the first ${MOST_ROWS} shown` : "");
    }

    async function choose(tensor) {
        shown.chosen = tensor;
        if (tensor === null)
            return;
        one("#chosen").textContent = `${tensor.name}: ${tensor.dtype} ${shapeOf(tensor)}, ${tensor.scheme || "as it is"}, ` +
            `${size(tensor.fileBytes)}${tensor.error ? `, error ${short(tensor.error)}` : ""}`;
        one("#histogram").replaceChildren();
        one("#range").textContent = "";
        let found = null;
        try {
            found = await histogram(tensor);
        } catch (error) {
            one("#range").textContent = error.message;
        }
        if (shown.chosen === tensor && found !== null)
            draw(found);
    }

    async function histogram(tensor) {
        const {file} = tensor;
        const carrier = tensor.sameAs ?? tensor.name;
        if (file.histograms)
            return file.histograms[carrier] ?? null;
        if (tensor.begin !== undefined)
            return Viewer.histogramOf(file, tensor);
        if (!tensor.scheme || tensor.bytes > 2 ** 28 || !(file instanceof Blob))
            return null;
        const library = await taut();
        if (library === null) {
            one("#range").textContent = "The values of a Taut file are decoded where the npm package lies beside this page (make wasm).";
            return null;
        }
        const m = await library.open(file);
        try {
            const values = await m.get(tensor.name);
            return Viewer.histogram(Float64Array.from(values.subarray(0, 1 << 21), Number));
        } finally {
            await m.close();
        }
    }

    function draw({low, high, counts, zeros, odd, of}) {
        const most = Math.log1p(Math.max(...counts, 1));
        one("#histogram").replaceChildren(...counts.map((count, k) => svgOf("rect", {
            x: k * 1000 / counts.length, width: 1000 / counts.length - 1, y: 120 - 118 * Math.log1p(count) / most,
            height: 118 * Math.log1p(count) / most
        }, svgOf("title", {}, `${count.toLocaleString("en")} values`))));
        one("#range").textContent = Number.isFinite(low) ? `${short(low)} to ${short(high)}; ${short(100 * zeros / of)} % zeros` +
            `${odd ? `; ${odd} not finite` : ""}; of ${of.toLocaleString("en")} values; heights are logarithms` : "no finite value";
    }

    /** A file of which only some pieces are here: what `taut view` puts into the page. */
    function embedded({name, size: bytes, pieces, histograms}) {
        const held = pieces.map(([begin, text]) => [begin, Uint8Array.from(atob(text), (c) => c.charCodeAt(0))]);
        return {
            name, size: bytes, histograms,
            slice: (begin, end) => ({arrayBuffer: async () => {
                const piece = held.find(([from, data]) => from <= begin && begin <= from + data.length);
                return piece ? piece[1].slice(begin - piece[0], end - piece[0]).buffer : new ArrayBuffer(0);
            }})
        };
    }

    let resized = 0;
    addEventListener("resize", () => {
        clearTimeout(resized);
        resized = setTimeout(() => shown && map(), 100);
    });
    const stop = (event) => event.preventDefault();
    addEventListener("dragover", stop);
    addEventListener("drop", (event) => {
        stop(event);
        show([...event.dataTransfer.files]);
    });
    one("#file").addEventListener("change", (event) => show([...event.target.files]));
    one("#search").addEventListener("input", () => shown && list());
    const given = one("#given");
    if (given)
        show(JSON.parse(given.textContent).map(embedded));
})();
