"use strict";
// Tables of a page are sorted by a click on a head; numbers by what they stand for, units and all.
for (const table of document.querySelectorAll("table.sorts")) {
    const body = table.tBodies[0];
    const UNITS = {B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, k: 1e3, M: 1e6, G: 1e9, T: 1e12, ns: 1e-9, "µs": 1e-6, ms: 1e-3, s: 1, "µJ": 1e-6, mJ: 1e-3, J: 1, kJ: 1e3};
    const text = (row, place) => (row.cells[place]?.firstChild?.textContent ?? "").trim();
    const number = (said) => {
        if (said.startsWith("infinite"))
            return Infinity;
        const found = said.replace(/,/g, "").replace(/−/g, "-").match(/^[<>]?\s*([+-]?[\d.]+(?:e[+-]?\d+)?)\s*([a-zA-Zµ]*)/);
        return found ? Number(found[1]) * (UNITS[found[2]] ?? 1) : NaN;
    };
    // Nothing and what is no number come last, whichever way.
    const order = (place, numeric, way) => (a, b) => {
        const [x, y] = [text(a, place), text(b, place)];
        if (!numeric)
            return way * x.localeCompare(y, "en", {numeric: true});
        const [one, other] = [number(x), number(y)];
        return Number.isNaN(one) - Number.isNaN(other) || (one === other || Number.isNaN(one) ? 0 : one < other ? -way : way);
    };
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, place) => {
        const button = document.createElement("button");
        button.type = "button";
        button.append(...head.childNodes);
        head.append(button);
        const numeric = head.classList.contains("n");
        button.addEventListener("click", () => {
            const way = (head.ariaSort ?? (numeric ? "ascending" : "descending")) === "ascending" ? -1 : 1;
            heads.forEach((one) => one.removeAttribute("aria-sort"));
            head.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
            const rows = [...body.rows];
            const last = rows.filter((row) => row.classList.contains("more"));
            const sorted = rows.filter((row) => !last.includes(row)).sort(order(place, numeric, way));
            body.append(...sorted, ...last);
        });
    });
}
// Rows that a narrow screen shows as blocks are rows to a screen reader all the same.
for (const table of document.querySelectorAll("table.rows")) {
    const roles = [["thead, tbody", "rowgroup"], ["tr", "row"], ["th", "columnheader"], ["td", "cell"]];
    table.setAttribute("role", "table");
    for (const [what, role] of roles)
        table.querySelectorAll(what).forEach((one) => one.setAttribute("role", role));
}
