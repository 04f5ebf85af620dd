"use strict";
// The board, live. What comes from the service is written as text and never as HTML.

const live = document.getElementById("live");
const stale = document.getElementById("stale");
const table = document.getElementById("fleet");
const device = document.querySelector("[data-device]");
const rows = new Map(); // by key: what is shown of a backend, and the row that shows it
const troubles = new Map(); // by region, or region and backend: since when, and why
let skew = 0; // ms by which the server's clock is ahead of ours
let heard = Date.now();
let lost = false;
let sort = { key: "name", down: false };

const DASH = "–";
const STATES = new Set(["online", "paused", "offline"]);
const keyOf = (region, name) => JSON.stringify([region || "", name]);
const probability = (x) => (x == null ? DASH : x === 0 ? "0" : x.toExponential(2));
const micro = (x) => (x == null ? DASH : (x * 1e6).toFixed(1));
const serverNow = () => Date.now() + skew;

function age(instant) {
  const seconds = Math.max(0, (serverNow() - Date.parse(instant)) / 1000);
  if (seconds >= 365.25 * 86400) return (seconds / (365.25 * 86400)).toFixed(1) + " y";
  if (seconds >= 2 * 86400) return Math.floor(seconds / 86400) + " d";
  if (seconds >= 3600) return Math.floor(seconds / 3600) + " h";
  if (seconds >= 60) return Math.floor(seconds / 60) + " min";
  return Math.floor(seconds) + " s";
}

const COLUMNS = {
  name: { value: (r) => r.backend.name },
  region: { label: "Region", value: (r) => r.backend.region || DASH },
  status: { label: "State", value: (r) => r.backend.status.name },
  queue: { label: "Queue", value: (r) => r.backend.queue_length, number: true },
  spark: { label: "", value: () => null },
  qubits: { label: "Qubits", value: (r) => r.backend.qubits, number: true },
  t1: { label: "T1 µs", value: (r) => r.calibration?.t1?.median, text: micro, number: true },
  t2: { label: "T2 µs", value: (r) => r.calibration?.t2?.median, text: micro, number: true },
  readout: { label: "Readout error", value: (r) => r.calibration?.readout_error?.median, text: probability, number: true },
  two: { label: "2q error", value: (r) => r.calibration?.gates?.[0]?.error?.median, text: probability, number: true },
  broken: { label: "Bad couplings", value: (r) => (r.calibration ? r.calibration.broken_couplings?.length ?? 0 : null), number: true },
  age: {
    label: "Calibrated",
    value: (r) => (r.calibration ? -Date.parse(r.calibration.calibrated_at) : null),
    text: (_, r) => (r.calibration ? age(r.calibration.calibrated_at) + " ago" : DASH),
    number: true,
  },
};

// --- one backend's row

function isOdd(name) { // as the server has it: no link can lead to such a backend
  return !name || name === "." || name === ".." || name.length > 500 || /[\/\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(name);
}

function visible(name) {
  const text = [...name.slice(0, 100)].map((one) => (/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(one) ? "\\u" + one.codePointAt(0).toString(16).padStart(4, "0") : one)).join("");
  return name.length > 100 ? text + "…" : text || "(no name)";
}

function nameCell(cell, backend) {
  const odd = isOdd(backend.name);
  const link = cell.appendChild(document.createElement(odd ? "span" : "a"));
  link.textContent = odd ? visible(backend.name) : backend.name;
  if (odd) {
    link.className = "odd";
    const note = document.createElement("small");
    note.textContent = "odd name";
    cell.append(" ", note);
    return;
  }
  const path = [backend.region || "-", backend.name].map(encodeURIComponent).join("/");
  link.href = live.dataset.base + "/backends/" + path;
}

function makeRow(backend) {
  const row = document.createElement("tr");
  row.dataset.name = backend.name;
  row.dataset.region = backend.region || "";
  for (const [key, column] of Object.entries(COLUMNS)) {
    const cell = row.appendChild(document.createElement(key === "name" ? "th" : "td"));
    if (key === "name") {
      cell.scope = "row";
      nameCell(cell, backend);
    } else {
      cell.dataset.label = column.label;
    }
    if (column.number) cell.className = "number";
    if (key === "spark") cell.className = "spark";
  }
  return row;
}

const rendered = table ? new Map([...table.tBodies[0].rows].map((row) => [keyOf(row.dataset.region, row.dataset.name), row])) : null;

function rowOf(backend) { // the server's own row, where there is one: who reads or has focused it keeps it
  return rendered.get(keyOf(backend.region, backend.name)) || makeRow(backend);
}

function showState(cell, status) {
  cell.className = "state " + (STATES.has(status.name) ? status.name : "other");
  cell.textContent = status.name;
  if (status.reason) {
    const reason = document.createElement("small");
    reason.textContent = status.reason;
    cell.append(" ", reason);
  }
}

function showSpark(cell, samples) {
  cell.replaceChildren();
  if (samples.length < 2) return;
  const last = serverNow() / 1000;
  const first = Math.min(samples[0][0], last - 1);
  const most = Math.max(1, ...samples.map((sample) => sample[1]));
  const points = [];
  samples.forEach(([at, jobs], index) => {
    const until = index + 1 < samples.length ? samples[index + 1][0] : last;
    for (const x of [at, until]) {
      points.push(((100 * (x - first)) / (last - first)).toFixed(2) + "," + (19 - (18 * jobs) / most).toFixed(2));
    }
  });
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 20");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "queue, at most " + most);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  line.setAttribute("points", points.join(" "));
  svg.append(line);
  cell.append(svg);
}

function fill(known) {
  Object.entries(COLUMNS).forEach(([key, column], index) => {
    const cell = known.row.children[index];
    if (key === "name") return;
    if (key === "status") return showState(cell, known.backend.status);
    if (key === "spark") return showSpark(cell, known.samples);
    const value = column.value(known);
    cell.textContent = column.text ? column.text(value, known) : value == null ? DASH : value;
  });
  known.row.classList.toggle("old", lost || isOld(known.backend));
}

function put(shown, samples) {
  if (shown.backend.emulated) document.getElementById("emulated").hidden = false; // the page had no list yet
  const key = keyOf(shown.backend.region, shown.backend.name);
  const before = rows.get(key);
  const known = { samples: [], row: before?.row || rowOf(shown.backend), ...before, ...shown };
  known.calibration = shown.calibration || before?.calibration || null;
  if (samples) known.samples = samples;
  rows.set(key, known);
  fill(known);
  return known;
}

// --- the table

function matches(known) {
  const backend = known.backend;
  if (document.getElementById("online").checked && backend.status.name !== "online") return false;
  const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = [backend.name, backend.region, backend.status.name, backend.status.reason].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

function compare(one, other) {
  const value = COLUMNS[sort.key].value;
  const [a, b] = [value(one), value(other)];
  if (a == null || b == null) return (a == null) - (b == null); // what is not known is last in either direction
  const order = typeof a === "string" ? (a < b ? -1 : a > b ? 1 : 0) : a - b;
  return (sort.down ? -order : order) || (one.backend.name < other.backend.name ? -1 : 1);
}

function arrange() {
  if (!table || !rows.size) return; // nothing was told yet: the server's own rows stay
  const focused = document.activeElement;
  const shown = [...rows.values()].sort(compare);
  const body = table.tBodies[0];
  shown.forEach((known, place) => {
    known.row.hidden = !matches(known);
    if (body.children[place] !== known.row) body.insertBefore(known.row, body.children[place] || null);
  });
  while (body.children.length > shown.length) body.lastChild.remove();
  if (focused && body.contains(focused)) focused.focus(); // moving a row takes the focus from it
  const visible = shown.filter((known) => !known.row.hidden);
  document.getElementById("empty").hidden = visible.length > 0;
  const online = visible.filter((known) => known.backend.status.name === "online").length;
  const jobs = visible.reduce((sum, known) => sum + known.backend.queue_length, 0);
  document.getElementById("summary").textContent =
    `${visible.length} of ${counted(rows.size, "backend")}, ${online} online, ${counted(jobs, "job")} waiting`;
}

function counted(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

function troubleKey(region, name) { // without a name for the whole region; an entry's name may be empty
  return name == null ? region || "" : keyOf(region, name);
}

function isOld(backend) {
  return troubles.has(backend.region || "") || troubles.has(keyOf(backend.region, backend.name));
}

function warn() {
  const lines = [...troubles.values()].map((trouble) => {
    const { region, name } = trouble;
    const when = new Date(trouble.since).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    if (name != null) {
      return `Old data: since ${when} the entry of ${name || "a backend without a name"} in ${region} cannot be read.`;
    }
    return `Old data: ${region || "the service"} has told nothing new since ${when}. ${trouble.detail}`;
  });
  if (lost) lines.unshift(`Old data: no connection to this board’s server for ${age(new Date(heard + skew))}.`);
  stale.textContent = lines.join("\n");
  stale.hidden = lines.length === 0;
  for (const known of rows.values()) {
    known.row.classList.toggle("old", lost || isOld(known.backend));
  }
}

// --- events

let nextFrame = 0;
function later() { // changes come in swarms
  if (!nextFrame) nextFrame = setTimeout(() => { nextFrame = 0; arrange(); warn(); }, 50);
}

function hear(at) {
  heard = Date.now();
  if (at) skew = Date.parse(at) - heard;
  if (lost) { lost = false; later(); }
}

function onState(state) {
  hear(state.at);
  if (table && state.backends.length) document.getElementById("old")?.remove(); // what the page said is past
  const samples = new Map(state.queues.map(([region, name, known]) => [keyOf(region, name), known]));
  const keys = new Set();
  troubles.clear();
  for (const one of state.troubles) troubles.set(troubleKey(one.region, one.name), one);
  for (const shown of state.backends) {
    const key = keyOf(shown.backend.region, shown.backend.name);
    keys.add(key);
    if (table) put(shown, samples.get(key));
    showDevice(shown);
  }
  if (state.backends.length) for (const key of [...rows.keys()]) if (!keys.has(key)) rows.delete(key);
  later();
}

function onChange(change) {
  hear();
  if (change.kind === "failed") {
    const { region, name } = change;
    troubles.set(troubleKey(region, name), { since: change.at, detail: change.detail || "", region, name });
  } else if (change.kind === "recovered") {
    troubles.delete(troubleKey(change.region, change.name));
  } else if (change.kind === "disappeared") {
    rows.delete(keyOf(change.region, change.name));
  } else {
    troubles.delete("");
    showDevice(change.after, change);
    if (table) {
      const known = put(change.after);
      const queue = change.after.backend.queue_length;
      if (known.samples.at(-1)?.[1] !== queue) {
        known.samples = [...known.samples, [Date.parse(change.at) / 1000, queue]].slice(-60);
        fill(known);
      }
      known.row.classList.add("changed");
      setTimeout(() => known.row.classList.remove("changed"), 1500);
    }
  }
  later();
}

function showDevice(shown, change) {
  if (!device || !shown || shown.backend.name !== device.dataset.device) return;
  if ((shown.backend.region || "") !== device.dataset.region) return;
  showState(document.getElementById("state"), shown.backend.status);
  document.getElementById("queue").textContent = shown.backend.queue_length;
  const drawn = device.querySelector("time")?.dateTime;
  if (shown.calibration && drawn && Date.parse(shown.calibration.calibrated_at) > Date.parse(drawn)) {
    document.getElementById("renewed").hidden = false;
  }
}

function connect() {
  const source = new EventSource(live.dataset.events);
  source.addEventListener("state", (event) => onState(JSON.parse(event.data)));
  source.addEventListener("change", (event) => onChange(JSON.parse(event.data)));
  source.addEventListener("beat", (event) => { hear(JSON.parse(event.data).at); });
  source.addEventListener("open", () => hear());
  source.addEventListener("error", () => {
    lost = true;
    warn();
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 5000); // after a refusal browsers give up
  });
}

connect();
setInterval(() => {
  for (const known of rows.values()) fill(known);
  if (Date.now() - heard > 60000) lost = true;
  warn();
}, 10000);

// --- people

if (table) {
  for (const head of table.tHead.rows[0].cells) {
    head.querySelector("button")?.addEventListener("click", () => {
      const key = head.dataset.key;
      sort = { key, down: sort.key === key && !sort.down };
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
      arrange();
    });
  }
  const filter = document.getElementById("filter");
  filter.addEventListener("input", arrange);
  document.getElementById("online").addEventListener("change", arrange);
  document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target === filter;
    if (event.key === "Escape" && typing) {
      filter.value = "";
      arrange();
      filter.blur();
    } else if (event.key === "/" && !typing) {
      event.preventDefault();
      filter.focus();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp" || (!typing && "jk".includes(event.key))) {
      const links = [...table.tBodies[0].querySelectorAll("tr:not([hidden]) a")];
      const step = event.key === "ArrowDown" || event.key === "j" ? 1 : -1;
      const place = links.indexOf(document.activeElement);
      const next = links[place < 0 ? 0 : Math.min(Math.max(place + step, 0), links.length - 1)];
      if (next) {
        event.preventDefault();
        next.focus();
      }
    }
  });
}
