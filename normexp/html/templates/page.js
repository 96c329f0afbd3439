"use strict";
// Sort a table by a column: click its header or press Enter on it; again to reverse the order.
for (const head of document.querySelectorAll("th[data-sort]")) {
  const sort = () => {
    const table = head.closest("table"), body = table.tBodies[0], column = head.cellIndex;
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => (row.cells[column].dataset.v ?? row.cells[column].textContent).replace(/^-$/, "");
    const compare = (a, b) => {
      if (a === "" || b === "") return (a === "") - (b === "") || 0;
      const order = isNaN(a) || isNaN(b) ? a.localeCompare(b, "en", {numeric: true}) : a - b;
      return down ? -order : order;
    };
    const rows = Array.from(body.rows, (row) => [key(row), row]).sort((a, b) => compare(a[0], b[0]));
    body.append(...rows.map((pair) => pair[1]));
  };
  head.tabIndex = 0;
  head.addEventListener("click", sort);
  head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
}
// Show or hide a line in all figures.
for (const box of document.querySelectorAll("nav input")) {
  const show = () => document.body.classList.toggle("without-" + box.value, !box.checked);
  box.addEventListener("change", show);
  show();
}
document.querySelector("nav fieldset")?.removeAttribute("hidden");
// Open folded parts for printing, except a table of very many runs.
addEventListener("beforeprint", () => { for (const details of document.querySelectorAll("details.printed")) details.open = true; });
