// node viewer.mjs FILE ...: what the viewer reads of each, as JSON.
import {readFileSync} from "node:fs";
for (const script of ["inflate", "dictionary", "formats", "treemap", "histogram"])
    await import(new URL(`../../examples/viewer/${script}.js`, import.meta.url));

const found = [];
for (const path of process.argv.slice(2)) {
    const file = new Blob([readFileSync(path)]);
    try {
        const {format, tensors, original} = await Viewer.open(file);
        const boxes = Viewer.squarify(tensors.map((one) => ({size: one.fileBytes})), {x: 0, y: 0, width: 100, height: 50});
        const area = boxes.reduce((sum, one) => sum + one.width * one.height, 0);
        const inside = boxes.every((one) => one.x >= -1e-6 && one.y >= -1e-6 && one.x + one.width <= 100 + 1e-6 && one.y + one.height <= 50 + 1e-6);
        const histograms = {};
        for (const one of tensors)
            histograms[one.name] = await Viewer.histogramOf(file, one);
        found.push({format, original, area, inside, histograms, tensors});
    } catch (error) {
        if (!error.message || error instanceof TypeError)
            throw error;
        found.push({refused: error.message});
    }
}
process.stdout.write(JSON.stringify(found));
