// The page of one backend: its state by itself, values on the map, and tables that can be sorted.
import { flash, follow, markSorted, order, renew } from "./live.js";

const main = document.querySelector("main[data-status]");

follow(() => main.dataset.status, (page) => {
  const calibrated = page.querySelector("[data-calibrated]")?.dataset.calibrated;
  const drawn = document.getElementById("calibrated")?.dateTime;
  if (calibrated && drawn && Date.parse(calibrated) > Date.parse(drawn)) document.getElementById("renewed").hidden = false;
  for (const id of ["state", "queue"]) {
    const old = document.getElementById(id).textContent;
    if (renew(id, page) && document.getElementById(id).textContent !== old) flash(document.getElementById(id));
  }
}, () => location.reload());

// --- the map

const svg = document.querySelector("#map svg");
const told = document.getElementById("mark");

function placeOf(mark) {
  const circle = mark.querySelector("circle");
  if (circle) return [circle.cx.baseVal.value, circle.cy.baseVal.value];
  const line = mark.querySelector("line");
  return [
    (line.x1.baseVal.value + line.x2.baseVal.value) / 2,
    (line.y1.baseVal.value + line.y2.baseVal.value) / 2,
  ];
}

if (svg) {
  const marks = [...svg.querySelectorAll("g.q, g.c")];
  const places = new Map(marks.map((mark) => [mark, placeOf(mark)]));
  let current = null;

  const say = (mark) => {
    current?.classList.remove("current");
    current = mark;
    mark.classList.add("current");
    told.textContent = mark.querySelector("title").textContent;
  };

  const markAt = (event) => event.target.closest("g.q, g.c");
  for (const kind of ["pointerover", "pointerdown"]) {
    svg.addEventListener(kind, (event) => {
      const mark = markAt(event);
      if (mark) say(mark);
    });
  }

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  svg.addEventListener("keydown", (event) => {
    const way = ARROWS[event.key];
    if (!way && event.key !== "Home") return;
    event.preventDefault();
    if (!current || event.key === "Home") return say(svg.querySelector("g.q"));
    const [x, y] = places.get(current);
    let [best, least] = [null, Infinity];
    for (const [mark, [otherX, otherY]] of places) {
      const along = (otherX - x) * way[0] + (otherY - y) * way[1];
      const aside = Math.abs((otherX - x) * way[1]) + Math.abs((otherY - y) * way[0]);
      if (along > 1 && along + 3 * aside < least) [best, least] = [mark, along + 3 * aside];
    }
    if (!best) return undefined;
    say(best);
    best.scrollIntoView({ block: "nearest", inline: "nearest" });
    return undefined;
  });
  svg.addEventListener("focus", () => { if (!current) say(svg.querySelector("g.q") ?? marks[0]); });
}

// --- tables

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      markSorted(heads, head, down);
      const valueOf = ({ cells }) => {
        if (place === heads.length - 1) return cells[place].textContent; // a date
        return cells[place].dataset.v == null ? null : Number(cells[place].dataset.v);
      };
      const rows = [...table.tBodies[0].rows].sort((one, other) => order(valueOf(one), valueOf(other), down));
      table.tBodies[0].append(...rows);
    });
  });
}
