// Rectangles whose areas are bytes: squarified treemaps (Bruls, Huizing, van Wijk 2000).
"use strict";
globalThis.Viewer ??= {};

(() => {
    /** Place `items` ({size > 0}) in a box; gives {item, x, y, width, height}, the largest first. */
    Viewer.squarify = (items, box) => {
        const all = [...items].filter((one) => one.size > 0).sort((a, b) => b.size - a.size);
        const sum = all.reduce((total, one) => total + one.size, 0);
        const scale = box.width * box.height / sum;
        const placed = [];
        let {x, y, width, height} = box;
        for (let begin = 0; begin < all.length;) {
            const side = Math.min(width, height);
            let end = begin, area = 0, worst = Infinity;
            for (; end < all.length; end++) {
                const next = area + all[end].size * scale;
                const largest = all[begin].size * scale, smallest = all[end].size * scale;
                const ratio = Math.max(side * side * largest / (next * next), next * next / (side * side * smallest));
                if (ratio > worst)
                    break;
                worst = ratio;
                area = next;
            }
            const thick = area / side;
            let along = 0;
            for (; begin < end; begin++) {
                const long = all[begin].size * scale / thick;
                placed.push(width >= height ?
                    {item: all[begin], x, y: y + along, width: thick, height: long} :
                    {item: all[begin], x: x + along, y, width: long, height: thick});
                along += long;
            }
            if (width >= height)
                [x, width] = [x + thick, width - thick];
            else
                [y, height] = [y + thick, height - thick];
        }
        return placed;
    };
})();
