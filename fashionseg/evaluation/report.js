"use strict";
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const header = button.parentElement;
    const table = header.closest("table");
    const column = header.cellIndex;
    const isText = header.classList.contains("text");
    const first = isText ? "ascending" : "descending";
    const second = isText ? "descending" : "ascending";
    const order = header.getAttribute("aria-sort") === first ? second : first;
    const sign = order === "ascending" ? 1 : -1;
    const value = (row) => row.cells[column].dataset.value;
    const compare = (a, b) => {
      if (value(a) === "" || value(b) === "") return (value(a) === "") - (value(b) === "");
      return sign * (isText ? value(a).localeCompare(value(b), undefined, {numeric: true}) : value(a) - value(b));
    };
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", order);
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  });
}
for (const pair of document.querySelectorAll(".pair")) {
  pair.addEventListener("click", () => {
    pair.parentElement.classList.toggle("wide");
    pair.scrollIntoView({block: "nearest", behavior: "smooth"});
  });
}
