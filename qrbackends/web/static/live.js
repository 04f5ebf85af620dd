// What all live pages share: the stream of changes, how fresh the page is, and ages that go on.

const GAP = 1000; // ms between two looks at the server, which tells the same within a second
const RETRY = 5000; // ms until the next attempt after one that failed
const FLASH = 1500; // ms
const SILENT = 60000; // ms without a heart-beat, after which the connection counts as lost
let skew = 0; // ms by which the server's clock is ahead of ours
let heard = Date.now();
let lost = false;

const now = () => Date.now() + skew;

export function age(seconds) {
  const year = 365.25 * 86400;
  if (seconds >= year) return (seconds / year).toFixed(1) + " y";
  if (seconds >= 2 * 86400) return Math.floor(seconds / 86400) + " d";
  if (seconds >= 3600) return Math.floor(seconds / 3600) + " h";
  if (seconds >= 60) return Math.floor(seconds / 60) + " min";
  return Math.max(0, Math.floor(seconds)) + " s";
}

export const secondsSince = (instant) => Math.max(0, (now() - Date.parse(instant)) / 1000);

export function setText(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

/** Show for a moment that an element has changed. */
export function flash(element) {
  element.classList.add("changed");
  setTimeout(() => element.classList.remove("changed"), FLASH);
}

/** Compare two values for a table's order; what is not known is last in either direction. */
export function order(a, b, down = false) {
  if (a == null || b == null) return (a == null) - (b == null);
  if (a === b) return 0;
  return (a < b) === down ? 1 : -1;
}

/** Mark the head of the column by which a table is sorted. */
export function markSorted(heads, sorted, down) {
  for (const head of heads) {
    if (head === sorted) head.setAttribute("aria-sort", down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
}

/** Replace an element by the one of the same id in another document, if it differs; return whether it does. */
export function renew(id, other) {
  const [old, young] = [document.getElementById(id), other.getElementById(id)];
  if (!old || !young || old.isEqualNode(young)) return false;
  const focused = old.contains(document.activeElement) ? document.activeElement.href : null;
  old.replaceWith(document.adoptNode(young));
  if (focused) [...young.querySelectorAll("a")].find((link) => link.href === focused)?.focus();
  return true;
}

/** Tell screen readers, when they have a moment. */
export function announce(text) {
  setText(document.getElementById("news"), text);
}

function showFreshness() {
  const asked = document.getElementById("asked");
  if (asked) setText(asked, age(secondsSince(asked.dateTime)));
  const [told, box, current] = ["lost", "stale", "current"].map((id) => document.getElementById(id));
  if (!told) return;
  told.hidden = !lost;
  if (lost) {
    setText(told, `Old data: no connection to this board’s server for ${age((Date.now() - heard) / 1000)}.`);
    box.hidden = false;
    current.parentElement.classList.add("not");
    setText(current, "Old data");
  } else {
    const how = document.getElementById("how");
    if (how) {
      const late = secondsSince(asked.dateTime) > Number(current.dataset.late); // the server hangs on the service
      setText(how, late ? "Old data" : current.dataset.how);
      current.parentElement.classList.toggle("not", late || current.dataset.how !== "Current");
    }
    box.hidden = ![...box.children].some((one) => one !== told && !one.hidden);
  }
  document.body.classList.toggle("lost", lost);
}

/**
 * Follow the fleet: `apply` gets each newer version of the page, or of the part of it at `address`; `missing` is
 * called when there is no such part any more. Return what asks for the newest version at once.
 */
export function follow(address, apply, missing = () => {}) {
  let shown = document.body.dataset.version;
  let wanted = shown;
  let busy = false;

  async function look() {
    if (busy) return;
    busy = true;
    let ok = false;
    const began = Date.now();
    try {
      const answer = await fetch(address(), { headers: { Accept: "text/html" } });
      ok = answer.ok;
      if (ok) {
        // The server has escaped all text of the service, as it does for the page itself.
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        shown = page.querySelector("[data-version]")?.dataset.version ?? wanted;
        apply(page);
        renew("freshness", page);
        showFreshness();
      } else if (answer.status === 401) {
        location.reload();
      } else if (answer.status === 404) {
        missing();
      }
    } catch {
      // the stream tells whether the server is there
    }
    setTimeout(() => {
      busy = false;
      if (wanted !== shown) look();
    }, ok ? Math.max(0, GAP - (Date.now() - began)) : RETRY);
  }

  function hear(event) {
    const told = JSON.parse(event.data);
    heard = Date.now();
    skew = Date.parse(told.at) - heard;
    if (lost) {
      lost = false;
      shown = "";
    }
    wanted = told.version;
    const asked = document.getElementById("asked");
    if (asked && told.asked) asked.dateTime = told.asked;
    if (wanted !== shown) look();
    showFreshness();
  }

  function connect() {
    const source = new EventSource(document.body.dataset.events);
    source.addEventListener("change", hear);
    source.addEventListener("error", () => {
      lost = true;
      showFreshness();
      if (source.readyState !== EventSource.CLOSED) return;
      setTimeout(() => {
        look(); // who has to log in again is led there
        connect(); // after a refusal browsers give up
      }, RETRY);
    });
  }

  connect();
  setInterval(() => {
    if (Date.now() - heard > SILENT) lost = true;
    showFreshness();
  }, 5000);
  showFreshness();
  return look;
}
