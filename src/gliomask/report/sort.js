// Sorts a table by the column whose heading is clicked: numbers as numbers, what is missing always last.
"use strict";
(() => {
  const value = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = Number(text.replace(/^</, "").replaceAll(",", ""));
    if (text === "" || text === "\u2013") return null;
    return Number.isNaN(number) ? text : number;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === typeof b) return a.localeCompare(b, "en", { numeric: true });
    return typeof a === "number" ? -1 : 1;
  };
  const sort = (table, column) => {
    const heads = [...table.tHead.rows[0].cells];
    const down = heads[column].getAttribute("aria-sort") === "ascending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map((row) => ({ row, value: value(row, column) }));
    const there = rows.filter((item) => item.value !== null).sort((a, b) => compare(a.value, b.value) * (down ? -1 : 1));
    const missing = rows.filter((item) => item.value === null);
    table.tBodies[0].append(...[...there, ...missing].map((item) => item.row));
  };
  document.querySelectorAll("table.sortable").forEach((table) => {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.addEventListener("click", () => sort(table, column));
      head.replaceChildren(button);
    });
  });
})();
