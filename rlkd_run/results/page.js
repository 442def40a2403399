// A click on a head sorts its table: rising, then falling. Empty cells stay at the end.
"use strict";

// "+0.34", "71.00 ± 0.35" and "< 0.001" count as numbers; "resnet56-resnet20" does not.
function number(text) {
  const found = /^(?:< )?([+-]?\d+(?:\.\d+)?)(?![\w.-])/.exec(text);
  return found ? Number(found[1]) : null;
}

function compare(a, b) {
  const [x, y] = [number(a), number(b)];
  return x !== null && y !== null ? x - y : a.localeCompare(b, "en", { numeric: true });
}

function sort(table, column, head) {
  const falling = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  const text = (row) => row.cells[column].textContent.trim();
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => {
    const [x, y] = [text(a), text(b)];
    if (!x || !y) return !x - !y;
    return falling ? compare(y, x) : compare(x, y);
  });
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => sort(table, column, head));
  });
}
