// Lists stems, plays them, takes decisions, and gives labels.csv back with the decisions in it.

const data = JSON.parse(byId("data").textContent);
const [columns, ...rows] = tableRows(data.labels);
const store = `selfrefine decisions ${data.digest}`;
const batch = 60; // cards made at once: thousands of players would make a browser slow

// Pairs of row and label set, the oldest first: a row's last one stands, and undoing takes one off.
let decisions = [];
let byHand = new Map();

const cards = new Map(); // by stem, made when first shown
let listed = [];
let drawn = 0;
let current = null;
let filter = "all";

const filters = {
  all: () => true,
  doubtful: (stem) => stem.doubt >= data.doubtful,
  changed: (stem) => standing(stem) !== cell(stem, "given"),
  multi: (stem) => standing(stem).includes("+"),
  dropped: (stem) => standing(stem) === "",
  undecided: (stem) => !byHand.has(stem.row),
};

const keys = {
  " ": () => playOrPause(current),
  j: () => move(1),
  ArrowDown: () => move(1),
  k: () => move(-1),
  ArrowUp: () => move(-1),
  g: () => decide(current, cell(current, "given")),
  p: () => decide(current, cell(current, "proposed")),
  x: () => decide(current, ""),
  0: () => decide(current, ""),
  u: undo,
  "?": () => byId("keys").showModal(),
};
data.classes.forEach((name, index) => {
  keys[index + 1] = () => toggle(current, name);
});
const keysWithoutStem = ["u", "?"];

function byId(id) {
  return document.getElementById(id);
}

function cell(stem, column) {
  return textOf(rows[stem.row][columns.indexOf(column)]);
}

function standing(stem) {
  return byHand.get(stem.row) ?? cell(stem, "refined");
}

// labels.csv with the decisions, as bytes.
function labelsBytes() {
  const edited = rows.map((row, number) => {
    if (!byHand.has(number)) return row;
    const refined = byHand.get(number);
    const decision = decisionWord(refined, row[columns.indexOf("given")]);
    const edits = { refined, decision, reason: data.byHand };
    return row.map((value, index) => edits[columns[index]] ?? value);
  });
  return tableBytes([columns, ...edited]);
}

function download() {
  const address = URL.createObjectURL(new Blob([labelsBytes()], { type: "text/csv" }));
  element("a", { href: address, download: "labels.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

// Decisions ----------------------------------------------------------------------------------

function decide(stem, label) {
  decisions.push([stem.row, label]);
  showDecision(stem);
}

function toggle(stem, name) {
  const before = classesIn(standing(stem));
  const after = data.classes.filter((each) => before.includes(each) !== (each === name));
  decide(stem, after.join("+"));
}

function undo() {
  if (!decisions.length) return;
  const [row] = decisions.pop();
  const stem = data.stems.find((each) => each.row === row);
  showDecision(stem);
  if (!listed.includes(stem)) list("all");
  select(stem);
}

function showDecision(stem) {
  byHand = new Map(decisions);
  save();
  if (cards.has(stem)) showLabel(stem);
  showCounts();
}

function save() {
  try {
    localStorage.setItem(store, JSON.stringify(decisions));
  } catch {
    byId("unsaved").hidden = false;
  }
}

function restore() {
  let saved = null;
  try {
    saved = localStorage.getItem(store);
  } catch {
    byId("unsaved").hidden = false;
  }
  // Other pages may share this store, so what is no decision about these stems is passed over.
  const known = new Set(data.stems.map((stem) => stem.row));
  const isLabel = (label) => classesIn(label).every((name) => data.classes.includes(name));
  try {
    const pairs = JSON.parse(saved ?? "[]");
    decisions = pairs.filter(([row, label]) => known.has(row) && isLabel(label));
  } catch {
    decisions = [];
  }
  byHand = new Map(decisions);
}

// The list -----------------------------------------------------------------------------------

function list(name) {
  filter = name;
  // A stem that is decided stays in view until a list is asked for again.
  listed = data.stems.filter(filters[name]);
  drawn = 0;
  byId("stems").replaceChildren();
  drawMore();
  if (!listed.includes(current)) mark(listed[0] ?? null);
  showCounts();
}

function drawMore() {
  const next = listed.slice(drawn, drawn + batch);
  byId("stems").append(...next.map((stem) => cardOf(stem).root));
  drawn += next.length;
  byId("more").hidden = drawn === listed.length;
  byId("more").textContent = `Show more: ${listed.length - drawn} of ${listed.length} are left`;
}

function cardOf(stem) {
  if (!cards.has(stem)) {
    cards.set(stem, makeCard(stem));
    showLabel(stem);
  }
  return cards.get(stem);
}

function mark(stem) {
  if (current) {
    pause(current);
    cardOf(current).root.removeAttribute("aria-current");
  }
  current = stem;
  if (stem) cardOf(stem).root.setAttribute("aria-current", "true");
  showPlace();
}

function select(stem) {
  while (drawn <= listed.indexOf(stem)) drawMore();
  if (stem !== current) mark(stem);
  cardOf(stem).root.scrollIntoView({ block: "nearest" });
}

function move(step) {
  const next = listed[listed.indexOf(current) + step];
  if (next) select(next);
}

function showCounts() {
  for (const button of byId("filters").children) {
    const name = button.dataset.filter;
    button.setAttribute("aria-pressed", String(name === filter));
    button.lastChild.textContent = data.stems.filter(filters[name]).length;
  }
  byId("undo").disabled = !decisions.length;
  showPlace();
}

function showPlace() {
  byId("place").replaceChildren(
    element("span", {}, `stem ${listed.indexOf(current) + 1} of ${listed.length}`),
    element("span", {}, `${byHand.size} `, element("i", { class: "wide" }, "decided "), "by hand"),
  );
}

// A stem's card ------------------------------------------------------------------------------

function makeCard(stem) {
  const act = (decision) => () => {
    select(stem);
    decision();
  };
  const label = (column) => cell(stem, column);
  const toggles = data.classes.map((name) =>
    button(
      act(() => toggle(stem, name)),
      { class: name },
      name,
      element("small", {}, Number(label(name)).toFixed(2)),
    ),
  );
  const drop = button(
    act(() => decide(stem, "")),
    {},
    "drop",
  );
  const stands = element("dd");
  const why = element("p", { class: "why" });
  const about = element(
    "div",
    { class: "about" },
    element("h3", {}, label("song")),
    element("p", { class: "small" }, label("file")),
    element(
      "dl",
      {},
      element("div", {}, element("dt", {}, "given"), tagged(element("dd"), label("given"))),
      element("div", {}, element("dt", {}, "proposed"), tagged(element("dd"), label("proposed"))),
      element("div", {}, element("dt", {}, "stands"), stands),
    ),
    why,
  );
  const given = button(
    act(() => decide(stem, label("given"))),
    {},
    "given",
  );
  const proposed = button(
    act(() => decide(stem, label("proposed"))),
    {},
    "proposed",
  );
  const choices = element(
    "div",
    { class: "choices" },
    element("div", { class: "row" }, given, proposed, drop),
    element("div", { class: "row classes" }, ...toggles),
  );
  const { plots, audio } = makeSound(stem);
  const sound = element("div", { class: "sound" }, plots, audio ?? "");
  const root = element("article", {}, about, sound, choices);
  root.addEventListener("click", () => stem !== current && select(stem));
  return { root, toggles, drop, stands, why, audio };
}

// A button that was clicked gives its focus back, so that the next space plays.
function button(act, attributes, ...children) {
  const made = element("button", { type: "button", ...attributes }, ...children);
  made.addEventListener("click", (event) => {
    act();
    if (event.detail > 0) made.blur();
  });
  return made;
}

function tagged(parent, label) {
  const tags = classesIn(label).map((name) => element("b", { class: name }, name));
  parent.replaceChildren(...(tags.length ? tags : ["none"]));
  return parent;
}

function showLabel(stem) {
  const { root, toggles, drop, stands, why } = cards.get(stem);
  const label = standing(stem);
  data.classes.forEach((name, index) => {
    toggles[index].setAttribute("aria-pressed", String(classesIn(label).includes(name)));
  });
  drop.setAttribute("aria-pressed", String(label === ""));
  tagged(stands, label);
  root.classList.toggle("decided", byHand.has(stem.row));
  const word = element("b", {}, decisionWord(label, cell(stem, "given")));
  const reason = byHand.has(stem.row) ? data.byHand : cell(stem, "reason");
  why.replaceChildren(word, `, confidence ${cell(stem, "confidence")}`, reason && ` · ${reason}`);
}

// Playing ------------------------------------------------------------------------------------

function makeSound(stem) {
  const seconds = Number(cell(stem, "seconds")) || 1;
  const { segments, peaks, curve } = stem;
  const plots = element("div", { class: "plots" });
  if (segments.length) plots.append(stretchNames(segments, seconds));
  if (peaks || segments.length) plots.append(wavePlot(unpacked(peaks ?? ""), segments, seconds));
  if (curve) plots.append(curvePlot(curve, data.threshold, seconds));
  if (!stem.source) return { plots };

  const audio = element("audio", { controls: "", preload: "none", src: stem.source });
  const head = element("div", { class: "head", hidden: "" });
  plots.append(head);
  plots.addEventListener("click", (event) => {
    const box = plots.getBoundingClientRect();
    const clicked = ((event.clientX - box.left) / box.width) * seconds;
    playFrom(stem, Number(event.target.dataset.start ?? clicked));
  });
  audio.addEventListener("timeupdate", () => {
    head.hidden = false;
    head.style.left = `${Math.min(100, (audio.currentTime / seconds) * 100)}%`;
  });
  audio.addEventListener("play", () => {
    // The event comes late: the stem may have been left, and so paused, since.
    if (!audio.paused && stem !== current) select(stem);
  });
  audio.addEventListener("error", () => {
    audio.replaceWith(element("p", { class: "small" }, "This browser cannot play the file."));
  });
  return { plots, audio };
}

function playFrom(stem, start) {
  select(stem);
  cards.get(stem).audio.currentTime = start;
  play(stem);
}

function play(stem) {
  // Why it does not play is said by the player's error event.
  cards.get(stem).audio?.play().catch(() => {});
}

function pause(stem) {
  cardOf(stem).audio?.pause();
}

function playOrPause(stem) {
  if (cardOf(stem).audio?.paused) play(stem);
  else pause(stem);
}

// The page -----------------------------------------------------------------------------------

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
  // A button that the tab key went to is pressed by space, as everywhere.
  if (event.key === " " && event.target.closest("button, summary")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!Object.hasOwn(keys, key) || (!current && !keysWithoutStem.includes(key))) return;
  event.preventDefault();
  keys[key]();
});

for (const name of Object.keys(filters)) {
  const listIt = button(() => list(name), { "data-filter": name }, name, element("small"));
  byId("filters").append(listIt);
}
byId("undo").addEventListener("click", undo);
byId("help").addEventListener("click", keys["?"]);
byId("download").addEventListener("click", download);
byId("more").addEventListener("click", drawMore);
byId("bar").hidden = false;
byId("summary").open = window.innerWidth > 700;
restore();
list("all");
