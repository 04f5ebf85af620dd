// The language of the fleet's filter, as filtering.py has it: words, whole names with * and ?, comparisons.

const TIMES = { "": 1, us: 1, "µs": 1, ms: 1e3, s: 1e6 }; // in microseconds
const AGES = { "": 3600, s: 1, min: 60, h: 3600, d: 86400, y: 31557600 }; // in seconds
const PARTS = { "": 1, "%": 0.01 };
const COUNTS = { "": 1, k: 1e3 };
const UNITS = { t1: TIMES, t2: TIMES, age: AGES, readout: PARTS, "2q": PARTS };
const TEXTS = ["name", "region", "state", "processor"];
const NUMBERS = ["queue", "qubits", "t1", "t2", "readout", "2q", "broken", "clops", "age"];
const KEYS = ["name", "region", "state", "queue", "processor", "qubits", "t1", "t2", "readout", "2q", "broken", "clops", "age"];
const MOST = 32; // terms
const TERM = /^([a-z0-9_]+)(<=|>=|!=|=|<|>)(.+)$/;
const NUMBER = /^([0-9]*\.?[0-9]+(?:e[+-]?[0-9]{1,3})?)([a-zµ%]*)$/;
const COMPARE = {
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
  "=": (a, b) => a === b,
  "!=": (a, b) => a !== b,
};

export function isNumber(key) {
  return NUMBERS.includes(key);
}

/** Return what a text means: a test of rows, and a sentence for each term that does not count. */
export function parsed(text) {
  const tests = [];
  const problems = [];
  const terms = text.slice(0, 500).toLowerCase().split(/\s+/).filter(Boolean);
  if (terms.length > MOST) problems.push(`Only the first ${MOST} terms count.`);
  for (const term of terms.slice(0, MOST)) {
    const found = TERM.exec(term);
    const test = found ? comparison(found[1], found[2], found[3]) : word(term);
    if (typeof test === "string") problems.push(test);
    else tests.push(test);
  }
  return { matches: (row) => tests.every((test) => test(row)), problems };
}

/** Return a test of whole texts. A regular expression of many stars could take minutes; this cannot. */
function pattern(text) {
  const wanted = [...text];
  return (whole) => {
    const given = [...whole];
    let [at, place, star, after] = [0, 0, -1, 0];
    while (at < given.length) {
      if (wanted[place] === "*") [star, after, place] = [place, at, place + 1];
      else if (wanted[place] === "?" || wanted[place] === given[at]) [at, place] = [at + 1, place + 1];
      else if (star >= 0) [after, at, place] = [after + 1, after + 1, star + 1];
      else return false;
    }
    while (wanted[place] === "*") place += 1;
    return place === wanted.length;
  };
}

function word(text) {
  if (!/[*?]/.test(text)) return (row) => row.texts.some((one) => one.toLowerCase().includes(text));
  const wanted = pattern(text);
  return (row) => row.texts.some((one) => wanted(one.toLowerCase()));
}

function comparison(key, sign, text) {
  if (TEXTS.includes(key)) {
    if (sign !== "=" && sign !== "!=") return `${key} is a text: compare it with = or !=.`;
    const wanted = pattern(text);
    return (row) => wanted(String(row.values[key] ?? "").toLowerCase()) === (sign === "=");
  }
  if (!NUMBERS.includes(key)) return `There is no column ${key}; there are ${KEYS.join(", ")}.`;
  const units = UNITS[key] ?? COUNTS;
  const found = NUMBER.exec(text);
  if (!found || !Object.hasOwn(units, found[2])) {
    const known = Object.keys(units).filter(Boolean).join(", ");
    return `${key}${sign}${text} needs a number, such as ${key}${sign}100; units are ${known}.`;
  }
  const number = Number(found[1]) * units[found[2]];
  return (row) => row.values[key] != null && COMPARE[sign](row.values[key], number);
}
