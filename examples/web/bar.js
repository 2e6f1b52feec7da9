// Bytes over time: a curve from when the page began until the first answer.
const began = performance.timeOrigin;
const now = () => (Date.now() - began) / 1000;
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 1)} MB`;

export class Bar {
    constructor(box, said) {
        this.path = document.createElementNS("http://www.w3.org/2000/svg", "path");
        const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
        svg.setAttribute("preserveAspectRatio", "none");
        svg.setAttribute("viewBox", "0 0 1 1");
        svg.append(this.path);
        box.append(svg);
        Object.assign(this, {said, steps: [[0, 0]], total: 0, lines: {}});
    }

    /** Bytes that one file has, and will have. */
    file(name, {loaded, total}) {
        this.lines[name] = {loaded, total: total ?? loaded};
        const all = Object.values(this.lines);
        const sum = all.reduce((bytes, one) => bytes + one.loaded, 0);
        this.total = all.reduce((bytes, one) => bytes + Math.max(one.total, one.loaded), 0);
        this.steps.push([now(), sum]);
        this.draw(`${megabytes(sum)} of ${megabytes(this.total)} after ${now().toFixed(1)} s`);
    }

    draw(text) {
        const [last] = this.steps.at(-1);
        const points = this.steps.map(([time, bytes]) => `${time / last || 0} ${1 - bytes / this.total || 0}`);
        this.path.setAttribute("d", `M0 1 L${points.join(" L")} L1 1 Z`);
        this.said.textContent = text;
    }

    /** Say what the first answer took; gives the seconds. */
    answered(what) {
        const seconds = now();
        if (this.first === undefined) {
            this.first = seconds;
            this.steps.push([seconds, this.steps.at(-1)[1]]);
            this.draw(`${what} after ${seconds.toFixed(1)} s: ${megabytes(this.steps.at(-1)[1])} of model and words`);
        }
        return seconds;
    }
}

/** All of an answer's bytes, told as they come. */
export async function fetched(url, hear = () => {}) {
    const answer = await fetch(url);
    if (!answer.ok)
        throw new Error(`${url}: HTTP ${answer.status}`);
    const coded = answer.headers.get("content-encoding");
    const total = coded ? undefined : Number(answer.headers.get("content-length") ?? NaN) || undefined;
    const parts = [];
    let loaded = 0;
    for (const reader = answer.body.getReader();;) {
        const {done, value} = await reader.read();
        if (done)
            break;
        parts.push(value);
        loaded += value.length;
        hear({loaded, total});
    }
    return new Uint8Array(await new Blob(parts).arrayBuffer());
}
