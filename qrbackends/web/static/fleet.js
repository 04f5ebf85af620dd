// The page of all backends: filter, sort and columns at once and in the address, and what changes by itself.
import { isNumber, parsed } from "./filter.js";
import { age, announce, flash, follow, markSorted, order, renew, secondsSince, setText } from "./live.js";

const table = document.getElementById("fleet");
const body = table.tBodies[0];
const form = document.getElementById("controls");
const filter = document.getElementById("filter");
const boxes = [...form.querySelectorAll('input[name="cols"]')];
const heads = [...table.tHead.rows[0].cells];
const keys = heads.map((head) => head.dataset.key);
const HOUR = 3600; // s

document.getElementById("apply").hidden = true; // typing is enough

// --- rows

const textOf = (cell) => cell.textContent.trim();

function read(row) {
  const values = {};
  const texts = [];
  keys.forEach((key, place) => {
    const cell = row.cells[place];
    const strong = key === "state" ? cell.querySelector("strong") : key === "name" ? cell.querySelector("a, .odd") : null;
    const text = textOf(strong ?? cell);
    texts.push(text);
    if (key === "state" && cell.querySelector(".why")) texts.push(textOf(cell.querySelector(".why")));
    if (key === "name") values[key] = row.dataset.name;
    else if (key === "region") values[key] = row.dataset.region || null;
    else if (!isNumber(key)) values[key] = text === "–" ? null : text;
    else if (key === "age") values[key] = cell.firstElementChild ? secondsSince(cell.firstElementChild.dateTime) : null;
    else if (cell.dataset.v) values[key] = Number(cell.dataset.v);
    else values[key] = text === "–" ? null : Number(text);
  });
  return { row, values, texts };
}

let known = [...body.rows].map(read);

function compare(key, down) {
  const fold = (value) => (typeof value === "string" ? value.toLowerCase() : value);
  return (one, other) => {
    const [{ name, region }, second] = [one.row.dataset, other.row.dataset];
    return order(fold(one.values[key]), fold(other.values[key]), down)
      || order(name, second.name) || order(region, second.region);
  };
}

function arrange() {
  const { key, down, text } = wanted();
  const { matches, problems } = parsed(text);
  const focused = document.activeElement;
  known.sort(compare(key, down));
  let shown = 0;
  for (const one of known) {
    const passes = matches(one);
    if (one.row.hidden === passes) one.row.hidden = !passes;
    if (passes) shown += 1;
  }
  const rows = [...body.rows];
  if (rows.length !== known.length || known.some((one, place) => one.row !== rows[place])) {
    body.append(...known.map((one) => one.row));
  }
  if (focused && focused !== document.activeElement && body.contains(focused)) focused.focus(); // moving takes it
  document.getElementById("empty").hidden = shown > 0;
  const summary = document.getElementById("summary");
  const rest = summary.textContent.replace(/^[^:]*/, "");
  const noun = known.length === 1 ? "backend" : "backends";
  summary.textContent = `${shown} of ${known.length.toLocaleString("en")} ${noun}${rest}`;
  setText(document.getElementById("problems"), problems.join(" "));
  return shown;
}

// --- what is wanted, and the address that has it

function wanted() {
  const sort = document.getElementById("sort").value || "name";
  const key = sort.replace(/^-/, "");
  return { key: keys.includes(key) ? key : "name", down: sort.startsWith("-"), text: filter.value };
}

function address() {
  const parameters = new URLSearchParams();
  if (filter.value.trim()) parameters.set("q", filter.value.trim());
  const sort = document.getElementById("sort");
  if (sort.value && sort.value !== "name") parameters.set("sort", sort.value);
  const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
  if (chosen.length < boxes.length && chosen.length) parameters.set("cols", chosen.join(","));
  const query = parameters.toString().replaceAll("%2C", ",");
  return location.pathname + (query ? "?" + query : "");
}

function show() {
  const { key, down } = wanted();
  const sorted = heads[keys.indexOf(key)];
  markSorted(heads, sorted, down);
  for (const head of heads) head.querySelector("button").value = (head === sorted && !down ? "-" : "") + head.dataset.key;
  const chosen = boxes.filter((box) => box.checked);
  for (const box of boxes) table.classList.toggle("no-" + box.value, chosen.length > 0 && !box.checked);
  table.classList.toggle("chosen", chosen.length > 0 && chosen.length < boxes.length);
  return arrange();
}

let typing = 0; // whether the last entry of the history is one that is being typed
let telling = 0; // a timer: the result is told once, when the visitor has stopped to type
function go({ replace = false } = {}) {
  const shown = show();
  clearTimeout(telling);
  telling = setTimeout(() => announce(`${shown} of ${known.length} backends are shown.`), 700);
  const next = address();
  if (next === location.pathname + location.search) return;
  if (replace && typing) history.replaceState(null, "", next);
  else history.pushState(null, "", next);
  typing = replace ? 1 : 0;
}

addEventListener("popstate", () => {
  const parameters = new URLSearchParams(location.search);
  filter.value = parameters.get("q") ?? "";
  setSort(parameters.get("sort") ?? "name");
  const columns = parameters.getAll("cols").flatMap((part) => part.split(","));
  for (const box of boxes) box.checked = columns.length === 0 || columns.includes(box.value);
  typing = 0;
  show();
});

function setSort(value) {
  const sort = document.getElementById("sort");
  sort.value = value;
  if (!sort.value) sort.value = "name";
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.submitter?.name === "sort") setSort(event.submitter.value);
  go();
  typing = 0;
});
filter.addEventListener("input", () => go({ replace: true }));
filter.addEventListener("change", () => { typing = 0; });
form.addEventListener("change", (event) => { if (["cols", "sort"].includes(event.target.name)) go(); });
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-q]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  filter.value = link.dataset.q;
  if (link.dataset.sort) setSort(link.dataset.sort);
  go();
});

// --- what changes

function withoutAges(cell) {
  const copy = cell.cloneNode(true);
  for (const time of copy.querySelectorAll("time")) time.textContent = cell.matches(".c-age") ? time.dateTime : "";
  return textOf(copy);
}

/** Take a newer cell in the place of an older one; what only looks different, such as a line, does not flash. */
function take(row, place, young) {
  const old = row.cells[place];
  if (old.isEqualNode(young)) return;
  const [before, after] = [old, young].map((cell) => withoutAges(cell));
  old.replaceWith(young);
  if (before !== after) flash(young);
}

function merge(row, young) {
  const [before, news] = [row, young].map((one) => textOf(one.querySelector(".c-state strong")));
  for (const [place, cell] of [...young.cells].entries()) if (keys[place] !== "name") take(row, place, cell);
  row.className = young.className;
  return news === before ? null : `${row.dataset.name} is ${news}.`;
}

const look = follow(() => location.pathname + location.search, (page) => {
  const fresh = page.querySelector("#fleet tbody");
  if (!fresh) return;
  const old = new Map(known.map((one) => [one.row.dataset.key, one.row]));
  const said = [];
  const rows = [...fresh.rows].map((young) => {
    const row = old.get(young.dataset.key);
    old.delete(young.dataset.key);
    if (!row) return document.adoptNode(young);
    const news = merge(row, young);
    if (news) said.push(news);
    return row;
  });
  for (const row of old.values()) row.remove();
  known = rows.map(read);
  for (const id of ["told", "emulated", "summary"]) renew(id, page);
  arrange();
  if (said.length) announce(said.length > 5 ? `${said.length} backends have changed their state.` : said.join(" "));
});

setInterval(() => {
  for (const time of document.querySelectorAll("#fleet time, #told time")) {
    setText(time, age(secondsSince(time.dateTime)));
  }
  known = known.map(({ row }) => read(row));
  arrange();
  if ([...document.querySelectorAll(".recent time")].some((time) => secondsSince(time.dateTime) > HOUR)) look();
}, 30000);

// --- keys, and what is compared

const single = document.getElementById("keys"); // who speaks to a computer may send keys without wanting to
try {
  single.checked = localStorage.getItem("keys") !== "off";
  single.addEventListener("change", () => localStorage.setItem("keys", single.checked ? "on" : "off"));
} catch {
  // a browser that keeps nothing: it counts for this page
}
single.parentElement.hidden = false;

document.getElementById("columns").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  event.currentTarget.open = false;
  event.currentTarget.querySelector("summary").focus();
});

document.addEventListener("keydown", (event) => {
  if (!single.checked && event.key.length === 1) return;
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("summary, select")) return;
  const inFilter = event.target === filter;
  if (event.key === "Escape" && inFilter) {
    filter.value = "";
    go();
    filter.blur();
  } else if (event.key === "/" && !inFilter) {
    event.preventDefault();
    filter.focus();
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp" || (!inFilter && "jk".includes(event.key))) {
    const links = [...body.querySelectorAll("tr:not([hidden]) a")];
    const step = event.key === "ArrowDown" || event.key === "j" ? 1 : -1;
    const place = links.indexOf(document.activeElement);
    const next = links[place < 0 ? 0 : Math.min(Math.max(place + step, 0), links.length - 1)];
    if (next) {
      event.preventDefault();
      next.focus();
    }
  }
});

function showComparing() {
  const count = body.querySelectorAll('input[name="b"]:checked').length;
  const button = document.getElementById("comparing");
  button.disabled = count < 2 || count > 6;
  button.textContent = count ? `Compare ${count} chosen` : "Compare chosen";
  button.title = count > 6 ? "At most six can be compared." : "Choose two to six backends by their boxes.";
}
body.addEventListener("change", showComparing);
addEventListener("pageshow", showComparing);
showComparing();
show();
