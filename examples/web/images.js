// An image classifier: pictures that prepare.py put beside it, and what the network takes them for.
import {Bar, fetched} from "./bar.js";
import {loadNetwork, ort} from "./model.js";

const one = (selector) => document.querySelector(selector);

function draw(pixels, channels, height, width) {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, {width, height});
    const colours = new Uint8ClampedArray(4 * width * height);
    for (let k = 0; k < width * height; k++) {
        for (let c = 0; c < 3; c++)
            colours[4 * k + c] = pixels[(channels === 3 ? c : 0) * width * height + k];
        colours[4 * k + 3] = 255;
    }
    canvas.getContext("2d").putImageData(new ImageData(colours, width, height), 0, 0);
    return canvas;
}

async function begin() {
    const bar = new Bar(one("#bar"), one("#said"));
    const {images} = await (await fetch("models.json")).json();
    const hear = (file, progress) => bar.file(file, progress);
    const [session, pixels] = await Promise.all([
        loadNetwork(images.ways[images.use], hear), fetched(images.pictures, (progress) => hear("pictures", progress))
    ]);
    const {shape: [count, channels, height, width], classes, labels, mean, deviation} = images;
    const size = channels * height * width;
    const values = Float32Array.from(pixels, (value, k) => {
        const channel = Math.floor(k / (height * width)) % channels;
        return (value / 255 - mean[channel]) / deviation[channel];
    });
    const {data} = (await session.run({x: new ort.Tensor("float32", values, images.shape)}))[session.outputNames[0]];
    let right = 0;
    for (let at = 0; at < count; at++) {
        const logits = data.subarray(at * classes.length, (at + 1) * classes.length);
        const best = logits.indexOf(Math.max(...logits));
        const sum = logits.reduce((total, value) => total + Math.exp(value - logits[best]), 0);
        right += best === labels[at];
        const item = document.createElement("li");
        item.append(draw(pixels.subarray(at * size, (at + 1) * size), channels, height, width),
            `${classes[best]}, ${Math.round(100 / sum)} %`, best === labels[at] ? "" : ` (is: ${classes[labels[at]]})`);
        one("#found").append(item);
    }
    const seconds = bar.answered(`${right} of ${count} right`);
    window.dispatchEvent(new CustomEvent("answered", {detail: {seconds, right, count}}));
}

begin().catch((error) => {
    one("#said").textContent = `${error.message ?? error}`;
    window.dispatchEvent(new CustomEvent("answered", {detail: {error: String(error?.stack ?? error)}}));
});
