"use strict";

// The data that the run recorded; see recording.rs for its fields.
const data = JSON.parse(document.getElementById("data").textContent);
const rows = data.rows;
const details = new Map(data.details.map((detail) => [detail.n, detail]));
const indexOf = new Map(rows.map((row, index) => [row.n, index]));

// What is selected: an index of `rows`, and the number of an object.
let selected = 0;
let selectedObject = null;

// Making elements. Text of the guest gets into the page as text only.

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const byId = (id) => document.getElementById(id);
const count = (number) => number.toLocaleString("en");
const hex = (number) => "0x" + number.toString(16);
const many = (number, one, more = one + "s") => `${count(number)} ${number === 1 ? one : more}`;

function time(nanoseconds) {
  if (nanoseconds < 1e3) return `${nanoseconds} ns`;
  if (nanoseconds < 1e6) return `${(nanoseconds / 1e3).toPrecision(3)} µs`;
  return `${(nanoseconds / 1e6).toPrecision(3)} ms`;
}

// The head of the page.

function showHead() {
  const name = data.program.split("/").pop();
  document.title = `Collections of ${name}`;
  byId("title").textContent = `Collections of ${name}`;
  byId("subtitle").textContent = `${data.program} · engine: ${data.engine} · walker: ${data.walker}`;
  const longest = rows.reduce((most, row) => Math.max(most, row.pause), 0);
  const peak = rows.reduce((most, row) => Math.max(most, row.before ?? 0), 0);
  const totals = [
    ["Collections", count(data.totals.collections)],
    ["Objects made", count(data.totals.made)],
    ["Freed by collections", count(data.totals.freed)],
    ["Largest table", many(peak, "entry", "entries")],
    ["Longest pause", time(longest)],
    ["Broken contracts", count(data.totals.broken), data.totals.broken > 0],
  ];
  for (const [term, value, bad] of totals) {
    byId("totals").append(
      element("div", { className: bad ? "bad" : "" }, element("dt", {}, term), element("dd", {}, value)),
    );
  }
  if (data.rowsLeftOut > 0) {
    byId("rows-left-out").hidden = false;
    byId("rows-left-out").textContent =
      `${many(data.rowsLeftOut, "collection")} in the middle of the run are left out, ` +
      "to keep the page small.";
  }
}

// The time line: one lane for each measure, one column for each collection. Where there are more
// collections than pixels, a column shows the most of several.

const LANE = 46;
const MARKS = 16;
const WIDEST = 40;
const lanes = [
  { name: "Frames", color: "--wasm", value: (row) => row.frames ?? 0, inner: (row) => row.wasm ?? 0, outerColor: "--frames" },
  { name: "References", color: "--roots", value: (row) => row.roots ?? row.references },
  { name: "Freed", color: "--freed", value: (row) => row.freed },
  { name: "Table", color: "--table", value: (row) => row.before ?? 0, inner: (row) => row.after ?? 0, outerColor: "--line" },
  { name: "Pause", color: "--pause", value: (row) => row.pause, shown: time },
];

const canvas = document.querySelector("#timeline canvas");

function showLaneNames() {
  for (const lane of lanes) {
    lane.most = rows.reduce((most, row) => Math.max(most, lane.value(row)), 0);
    const most = element("span", {}, `max ${(lane.shown ?? count)(lane.most)}`);
    const box = element("div", {}, element("b", {}, lane.name), most);
    box.style.setProperty("--lane", `var(${lane.color})`);
    byId("lane-names").append(box);
  }
}

function geometry() {
  const width = canvas.clientWidth;
  const bins = Math.max(1, Math.min(rows.length, Math.floor(width)));
  return { width, column: Math.min(width / bins, WIDEST), bins, perBin: rows.length / bins };
}

function drawTimeline() {
  const scale = window.devicePixelRatio || 1;
  const height = MARKS + lanes.length * LANE;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(canvas.clientWidth * scale);
  canvas.height = Math.round(height * scale);
  const { width, column, bins, perBin } = geometry();
  const styles = getComputedStyle(document.documentElement);
  const color = (name) => styles.getPropertyValue(name).trim();
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  lanes.forEach((_, index) => {
    pen.fillStyle = color("--line");
    pen.fillRect(0, MARKS + (index + 1) * LANE - 1, width, 1);
  });
  const gap = column > 4 ? 1 : 0;
  const chosen = Math.floor(selected / perBin);
  pen.fillStyle = color("--select");
  pen.globalAlpha = 0.12;
  pen.fillRect(chosen * column - 1, 0, Math.max(column, 2) + 2, height);
  pen.globalAlpha = 1;
  for (let bin = 0; bin < bins; bin += 1) {
    const members = rows.slice(Math.floor(bin * perBin), Math.max(Math.floor((bin + 1) * perBin), Math.floor(bin * perBin) + 1));
    const x = bin * column;
    if (members.some((row) => !row.swept)) {
      pen.fillStyle = color("--bad");
      pen.fillRect(x, 2, Math.max(column - gap, 2), 9);
    } else if (members.some((row) => row.kind === "cycles")) {
      pen.fillStyle = color("--cycles");
      pen.fillRect(x, 5, Math.max(column - gap, 2), 5);
    }
    lanes.forEach((lane, index) => {
      if (lane.most === 0) return;
      const base = MARKS + (index + 1) * LANE - 1;
      const bar = (value, name) => {
        const size = value === 0 ? 0 : Math.max((value / lane.most) * (LANE - 9), 1.5);
        pen.fillStyle = color(name);
        pen.fillRect(x, base - size, Math.max(column - gap, 0.75), size);
      };
      const most = (measure) => members.reduce((most, row) => Math.max(most, measure(row)), 0);
      const cycles = members.every((row) => row.kind === "cycles");
      bar(most(lane.value), cycles ? "--cycles" : (lane.outerColor ?? lane.color));
      if (lane.inner) bar(most(lane.inner), lane.color);
    });
  }
  pen.fillStyle = color("--select");
  pen.fillRect(chosen * column + (column - gap) / 2 - 0.75, 0, 1.5, height);
}

function rowAt(event) {
  const { column, perBin } = geometry();
  const x = event.clientX - canvas.getBoundingClientRect().left;
  return Math.floor(Math.floor(x / column) * perBin);
}

// One collection.

function chip(number) {
  if (number === null) return element("span", { className: "null" }, "an object of another type");
  const object = data.objects[number];
  const button = element(
    "button",
    { type: "button", className: "chip", title: "Show its life" },
    element("b", {}, String(number)),
    object.text,
  );
  button.dataset.object = number;
  button.style.setProperty("--hue", String(Math.round((number * 137.5) % 360)));
  button.addEventListener("click", () => selectObject(selectedObject === number ? null : number));
  return button;
}

function place(made) {
  const at = made.offset === null ? "" : ` at ${hex(made.offset)}`;
  return element("span", {}, element("code", {}, data.functions[made.function]), at);
}

function slotPlace(frame, slot) {
  if (frame.fp !== null && frame.fp > slot.at) return `fp − ${frame.fp - slot.at}`;
  if (frame.sp !== null) return `sp + ${slot.at - frame.sp}`;
  return hex(slot.at);
}

const isBroken = (row, slot) =>
  slot.holds === "misaligned" || (slot.holds === "unknown" && row.foreign === 0);

const explanations = {
  unknown: "is in no entry of the activations table",
  misaligned: "is misaligned: no object can be there",
};

function slotContent(row, slot) {
  if (slot.holds === "object") return chip(slot.object);
  if (isBroken(row, slot)) {
    return element("span", { className: "wrong" }, `${hex(slot.word)} ${explanations[slot.holds]}`);
  }
  const text = slot.holds === "unknown" ? `${hex(slot.word)}, of another table` : slot.holds;
  return element("span", { className: "null" }, text);
}

function showFrame(row, frame, times) {
  const name = element("span", { className: "name" }, data.functions[frame.function]);
  const call = frame.offset === null ? null : element("span", { className: "note" }, `call at ${hex(frame.offset)}`);
  const repeated = times > 1 ? element("span", { className: "note" }, `× ${count(times)}`) : null;
  const pc = element("span", { className: "pc" }, `pc ${hex(frame.pc)}`);
  const item = element("li", {}, element("div", { className: "frame" }, name, call, repeated, pc));
  if (frame.slots.some((slot) => isBroken(row, slot))) item.classList.add("broken");
  if (frame.slots.length > 0) {
    const slots = element("div", { className: "slots" });
    for (const slot of frame.slots) {
      slots.append(
        element("span", { className: "at", title: `at ${hex(slot.at)}` }, slotPlace(frame, slot)),
        element("span", {}, slotContent(row, slot)),
      );
    }
    item.append(slots);
  }
  if (frame.slots_left_out > 0) {
    item.append(element("p", { className: "note" }, `and ${many(frame.slots_left_out, "more slot")}`));
  }
  return item;
}

// Frames that look alike become one item: host code, and a recursion without references.
function showStack(row, detail) {
  const list = element("ol", { className: "stack" });
  const key = (frame) => {
    if (frame.function === null) return frame.trampoline ? "trampoline" : "host";
    return frame.slots.length === 0 ? `${frame.function} ${frame.offset}` : null;
  };
  const frames = detail.frames;
  for (let index = 0; index < frames.length; ) {
    const frame = frames[index];
    if (index === detail.youngest && detail.frames_left_out > 0) {
      list.append(element("li", { className: "gap" }, `${many(detail.frames_left_out, "frame")} left out`));
    }
    if (frame.new_stack && index > 0) {
      list.append(element("li", { className: "gap" }, "another stack"));
    }
    let end = index + 1;
    while (
      end < frames.length && end !== detail.youngest && !frames[end].new_stack &&
      key(frame) !== null && key(frames[end]) === key(frame)
    ) end += 1;
    const times = end - index;
    if (frame.function !== null) {
      list.append(showFrame(row, frame, times));
    } else {
      const text = frame.trampoline ? many(times, "trampoline") : many(times, "host frame");
      list.append(element("li", { className: "host" }, text));
    }
    index = end;
  }
  return list;
}

function sentence(row) {
  if (row.kind === "cycles") {
    return `Traced ${many(row.boxes, "object")} with ${many(row.references, "reference")}. ` +
      `${count(row.unlinked)} were kept alive only by a cycle, ${count(row.freed)} of them died. ` +
      `${many(row.alive, "object")} live on. It took ${time(row.pause)}.`;
  }
  return `Walked ${many(row.frames, "frame")}, ${count(row.wasm)} of them Wasm, and found ` +
    `${many(row.roots, "reference")}. The table went from ${count(row.before)} to ` +
    `${many(row.after, "entry", "entries")}, ${many(row.freed, "object")} died, ` +
    `${count(row.alive)} live on. The pause was ${time(row.pause)}.`;
}

function alarm(row, detail) {
  if (row.swept && !row.survivors) return null;
  const box = element("div", { className: "alarm" }, element("strong", {}, sentenceCase(row.outcome) + "."));
  if (row.hint) box.append(" ", row.hint);
  if (row.end) box.append(element("p", { className: "note" }, sentenceCase(row.end) + "."));
  if (row.survivors) {
    box.append(` ${many(row.survivors, "object")} were unlinked and are still held: some trace or unlink is wrong.`);
  }
  const wrong = (detail?.frames ?? []).flatMap((frame) =>
    frame.slots.filter((slot) => isBroken(row, slot)).map((slot) => ({ frame, slot })));
  if (wrong.length > 0) {
    box.append(element("ul", {}, ...wrong.slice(0, 8).map(({ frame, slot }) => element(
      "li", {},
      element("code", {}, data.functions[frame.function]),
      `, slot ${slotPlace(frame, slot)}: ${hex(slot.word)} ${explanations[slot.holds]}`,
    ))));
  }
  return box;
}

const sentenceCase = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function showCollection() {
  const row = rows[selected];
  const section = byId("collection");
  section.replaceChildren();
  if (!row) {
    section.append(element("h2", { id: "collection-heading" }, "No collection"),
      element("p", {}, "The run ended before the activations table was full."));
    return;
  }
  const detail = details.get(row.n);
  const kind = row.kind === "cycles" ? "Cycle collection" : "Collection";
  const state = row.swept ? (row.kind === "cycles" ? "cycles" : "") : "kept";
  const word = row.swept ? (row.kind === "cycles" ? "collected" : "swept") : "kept everything";
  section.append(
    element("div", { className: "headline" },
      element("h2", { id: "collection-heading" }, `${kind} ${count(row.n)}`),
      element("span", { className: `outcome ${state}` }, word)),
    element("p", {}, sentence(row)),
    alarm(row, detail) ?? "",
  );
  if (!detail) {
    section.append(element("p", { className: "note" },
      `Its stack is left out, as those of ${many(data.detailsLeftOut, "collection")} are: ` +
      "the page has the first, the last, and the one with the most references."));
    return;
  }
  const columns = element("div", { className: "columns" });
  const aside = element("aside", {});
  if (row.kind === "gc") {
    const legend = "Youngest frame first. A slot is a word that the stack map calls live.";
    columns.append(element("div", {}, element("h3", {}, "Stack"), element("p", { className: "note" }, legend),
      detail.frames.length === 0 ? element("p", {}, "No frame: no Wasm is running.") : showStack(row, detail)));
  }
  const died = element("div", {}, element("h3", {}, "Died"));
  if (detail.died.length === 0) died.append(element("p", { className: "note" }, "Nothing."));
  died.append(element("ul", { className: "died" }, ...detail.died.map((number) => element("li", {}, chip(number)))));
  if (detail.died_left_out > 0) {
    died.append(element("p", { className: "note" }, `and ${count(detail.died_left_out)} more`));
  }
  aside.append(element("div", { id: "object" }), died);
  columns.append(aside);
  section.append(columns);
  showObject();
}

// One object.

function goTo(n) {
  if (!indexOf.has(n)) return document.createTextNode(`collection ${count(n)}`);
  const button = element("button", { type: "button" }, `collection ${count(n)}`);
  button.addEventListener("click", () => select(indexOf.get(n)));
  return button;
}

function death(died) {
  if (died === "alive") return ["It is alive."];
  if (died === "end") return ["With its store, at the end of the run."];
  if (died === "count") return ["Between collections: the last holder that counts gave it up."];
  if ("gc" in died) return ["In ", goTo(died.gc), ": no frame held it any more, and nothing else."];
  return ["In ", goTo(died.cycles), ": only a cycle kept it alive."];
}

function holders(number) {
  const seen = data.details.filter((detail) =>
    detail.frames.some((frame) => frame.slots.some((slot) => slot.object === number)));
  if (seen.length === 0) return ["No recorded stack."];
  if (seen.length === 1) return ["The stack of ", goTo(seen[0].n)];
  return [`The stacks of ${count(seen.length)} collections, from `, goTo(seen[0].n), " to ", goTo(seen[seen.length - 1].n)];
}

function showObject() {
  for (const each of document.querySelectorAll(".chip")) {
    const isSelected = selectedObject !== null && each.dataset.object === String(selectedObject);
    each.classList.toggle("selected", isSelected);
    each.setAttribute("aria-pressed", String(isSelected));
  }
  const box = byId("object");
  if (!box) return;
  const object = selectedObject === null ? null : data.objects[selectedObject];
  if (!object) {
    box.replaceChildren(element("h3", {}, "Object"),
      element("p", { className: "note" }, "Choose one, to see where it was made and when it died."));
    return;
  }
  const made = object.made === null ? "By the host." : place(object.made);
  box.replaceChildren(
    element("h3", {}, `Object ${object.number}`),
    element("dl", { className: "life" },
      element("dt", {}, "Value"), element("dd", {}, object.text),
      element("dt", {}, "Made in"), element("dd", {}, made),
      element("dt", {}, "Held by"), element("dd", {}, ...holders(object.number)),
      element("dt", {}, "Died"), element("dd", {}, ...death(object.died))),
  );
}

function selectObject(number) {
  selectedObject = number;
  showObject();
}

// Selecting.

function select(index) {
  selected = Math.max(0, Math.min(rows.length - 1, index));
  const row = rows[selected];
  if (row) {
    const slider = byId("timeline");
    slider.setAttribute("aria-valuenow", String(row.n));
    slider.setAttribute("aria-valuetext", `${row.n}: ${row.outcome}, ${row.freed} freed`);
    byId("number").value = String(row.n);
    history.replaceState(null, "", `#${row.n}`);
  }
  for (const id of ["first", "previous"]) byId(id).disabled = selected <= 0;
  for (const id of ["next", "last"]) byId(id).disabled = selected >= rows.length - 1;
  drawTimeline();
  showCollection();
}

function nextKept() {
  const after = rows.findIndex((row, index) => index > selected && !row.swept);
  return after >= 0 ? after : rows.findIndex((row) => !row.swept);
}

const moves = {
  ArrowLeft: () => selected - 1,
  ArrowRight: () => selected + 1,
  PageUp: () => selected - 10,
  PageDown: () => selected + 10,
  Home: () => 0,
  End: () => rows.length - 1,
  n: () => (nextKept() < 0 ? selected : nextKept()),
};

function onKey(event) {
  const onTimeline = document.activeElement === byId("timeline");
  const free = document.activeElement === document.body && event.key.startsWith("Arrow");
  const move = moves[event.key];
  if (!move || !(onTimeline || free) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  select(move());
}

// The collection to begin with: the one in the address, the first that kept everything, or the
// first of those with the most to show.
function firstChoice() {
  const asked = indexOf.get(Number(location.hash.slice(1)));
  if (asked !== undefined) return asked;
  const kept = rows.findIndex((row) => !row.swept);
  if (kept >= 0) return kept;
  const worth = (row) => (details.has(row.n) ? Math.min(row.roots ?? 0, 8) + Math.min(row.freed, 4) : -1);
  return rows.reduce((best, row, index) => (worth(row) > worth(rows[best]) ? index : best), 0);
}

// The table, made when somebody wants it, some rows at a time.

const ROWS_AT_A_TIME = 500;

function tableRow(row, index) {
  const go = element("button", { type: "button" }, count(row.n));
  go.addEventListener("click", () => {
    select(index);
    byId("collection").scrollIntoView();
  });
  const outcome = row.kind === "cycles" ? `cycles: ${row.outcome}` : row.outcome;
  const cells = [row.frames, row.wasm, row.roots ?? row.references, row.before, row.after, row.freed, row.alive];
  return element("tr", { className: row.swept ? "" : "kept" },
    element("td", {}, go), element("td", {}, outcome),
    ...cells.map((cell) => element("td", {}, cell === undefined ? "" : count(cell))),
    element("td", {}, time(row.pause)));
}

function showTable() {
  const box = document.querySelector("#all .scroll");
  if (!byId("all").open || box.firstChild) return;
  const heads = ["", "Outcome", "Frames", "Wasm", "References", "Before", "After", "Freed", "Alive", "Pause"];
  const body = element("tbody");
  const more = element("button", { type: "button" });
  const showMore = () => {
    const begin = body.rows.length;
    const next = rows.slice(begin, begin + ROWS_AT_A_TIME);
    body.append(...next.map((row, index) => tableRow(row, begin + index)));
    const rest = rows.length - body.rows.length;
    more.hidden = rest === 0;
    more.textContent = `Show ${count(Math.min(rest, ROWS_AT_A_TIME))} more of ${count(rest)}`;
  };
  more.addEventListener("click", showMore);
  showMore();
  const head = element("tr", {}, ...heads.map((name) => element("th", { scope: "col" }, name)));
  box.append(element("table", {}, element("thead", {}, head), body), more);
}

function start() {
  showHead();
  showLaneNames();
  const slider = byId("timeline");
  slider.setAttribute("aria-valuemin", String(rows[0]?.n ?? 0));
  slider.setAttribute("aria-valuemax", String(rows[rows.length - 1]?.n ?? 0));
  byId("number").max = String(data.totals.collections);
  byId("next-kept").disabled = nextKept() < 0;
  byId("time").hidden = rows.length === 0;
  let dragging = false;
  slider.addEventListener("pointerdown", (event) => {
    dragging = true;
    select(rowAt(event));
  });
  slider.addEventListener("pointermove", (event) => {
    if (dragging && rowAt(event) !== selected) select(rowAt(event));
  });
  window.addEventListener("pointerup", () => { dragging = false; });
  document.addEventListener("keydown", onKey);
  byId("first").addEventListener("click", () => select(0));
  byId("previous").addEventListener("click", () => select(selected - 1));
  byId("next").addEventListener("click", () => select(selected + 1));
  byId("last").addEventListener("click", () => select(rows.length - 1));
  byId("next-kept").addEventListener("click", () => select(nextKept()));
  byId("number").addEventListener("change", (event) => {
    const asked = Number(event.target.value);
    // The nearest one that the page has.
    const nearest = rows.findIndex((row) => row.n >= asked);
    select(nearest >= 0 ? nearest : rows.length - 1);
  });
  byId("all").addEventListener("toggle", showTable);
  window.addEventListener("hashchange", () => select(firstChoice()));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawTimeline);
  new ResizeObserver(drawTimeline).observe(byId("timeline"));
  select(firstChoice());
}

start();
