// The page: photographs come in one by one, and what is shown of an answer is chosen without asking again.

import { boxAt, draw } from "./canvas.js";
import { askModel, detect } from "./server.js";
import {
  colourOfClass, colourOfLevel, current, imageOf, scene, shownAnswer, shownDetections, state, story,
} from "./shown.js";
import { choice, detectionButton, element, percent, timeRows } from "./sidebar.js";

const at = (id) => document.getElementById(id);

// Photographs are sent one after the other: the server is not only here for this page.
let queue = Promise.resolve();

function show(text, isProblem = false) {
  at("status").textContent = text;
  at("status").classList.toggle("problem", isProblem);
}

/** Draws the photograph as wide as there is room, in the screen's own pixels. */
function paint() {
  const image = imageOf(current());
  const room = at("stage").clientWidth;
  // As high as the window at most, and small ones at most four times as large as they are.
  const shown = image ? Math.min(room / image.width, (0.8 * innerHeight) / image.height, 4) : 0;
  at("canvas").hidden = !image;
  if (image) {
    const dense = window.devicePixelRatio || 1;
    at("canvas").style.width = `${image.width * shown}px`;
    draw(at("canvas"), scene(), shown * dense, 2.2 * dense);
  }
}

function describe() {
  const photograph = current();
  const found = shownDetections();
  const sum = `${photograph.name}: ${found.length} ${found.length === 1 ? "detection" : "detections"}`;
  const list = found.slice(0, 10).map((each) => `${each.label} ${percent(each.score)}`);
  at("canvas").setAttribute("aria-label", [sum, ...list].join(", "));
  at("caption").textContent = state.chosen ? story(state.chosen) : photograph.bitmap || !photograph.answer
    ? sum
    : `${sum}. This browser cannot show the photograph itself.`;
}

/** Brings everything in line with the state, but for lists of which only marks have changed. */
function update() {
  const found = shownDetections();
  if (!found.includes(state.chosen)) {
    state.chosen = null;
  }
  at("threshold-shown").value = percent(state.threshold);
  at("most-shown").value = state.most;
  at("nothing").hidden = found.length > 0 || !imageOf(current());
  const buttons = found.map((each) => detectionButton(each, colourOfClass(each.label), () => choose(each)));
  at("detections").replaceChildren(...buttons);
  for (const label of at("classes").querySelectorAll("label")) {
    const all = imageOf(current())?.detections ?? [];
    const counted = all.filter((each) => each.label === label.dataset.name && each.score >= state.threshold);
    label.querySelector(".count").textContent = counted.length;
  }
  mark();
}

/** What a choice changes: no list is made anew, so that the focus stays where it is. */
function mark() {
  const found = shownDetections();
  [...at("detections").querySelectorAll("button")].forEach((button, index) =>
    button.setAttribute("aria-pressed", String(found[index] === state.chosen)),
  );
  at("json").value = shownAnswer();
  describe();
  paint();
}

function choose(detection) {
  state.chosen = state.chosen === detection ? null : detection;
  mark();
}

/** Shows another photograph. */
function turnTo(index) {
  if (index < 0 || index >= state.photographs.length) {
    return;
  }
  state.current = index;
  state.chosen = null;
  const photograph = current();
  const image = imageOf(photograph);
  at("work").hidden = false;
  at("previous").disabled = index === 0;
  at("next").disabled = index === state.photographs.length - 1;
  at("save").disabled = at("copy").disabled = !image;
  [...at("photographs").querySelectorAll("button")].forEach((button, place) =>
    button.setAttribute("aria-current", String(place === index)),
  );
  const labels = [...new Set(image?.detections.map((each) => each.label))].sort();
  refill(at("classes"), labels.map((label) => setChoice(label, colourOfClass(label), state.hiddenClasses, false)));
  const levels = Object.entries(image?.proposals ?? {});
  refill(at("levels"), levels.map(([level, proposals]) => {
    const made = setChoice(level, colourOfLevel(level), state.shownLevels, true);
    made.querySelector(".count").textContent = proposals.length;
    return made;
  }));
  at("times").replaceChildren(...(image ? timeRows(photograph.answer) : []));
  show(photograph.problem ?? (image ? "" : `${photograph.name}: waiting for its answer`), Boolean(photograph.problem));
  update();
}

/** A checkbox that is on while the set holds the name, or while it does not. */
function setChoice(name, colour, set, onInSet) {
  return choice(name, colour, set.has(name) === onInSet, (checked) => {
    set[checked === onInSet ? "add" : "delete"](name);
    update();
  });
}

function refill(fieldset, labels) {
  fieldset.querySelectorAll(".choice").forEach((label) => label.remove());
  fieldset.append(...labels);
}

/** Takes files in; each is sent when those before it have been answered. */
function take(files) {
  for (const file of files) {
    const photograph = { name: file.name || "pasted", file, bitmap: null, answer: null, problem: null };
    const index = state.photographs.push(photograph) - 1;
    const button = element("button", { type: "button", textContent: photograph.name, title: photograph.name });
    button.addEventListener("click", () => turnTo(index));
    at("photographs").append(element("li", {}, button));
    queue = queue.then(() => answer(photograph, index));
  }
  if (files.length > 0) {
    turnTo(state.photographs.length - files.length);
  }
}

async function answer(photograph, index) {
  const isShown = () => state.current === index;
  try {
    await modelAsked;
    // Turned as its EXIF says, as on the server.
    photograph.bitmap = await createImageBitmap(photograph.file).catch(() => null);
    const waiting = (seconds) => show(`The server is full. Trying again in ${seconds} s.`);
    photograph.answer = await detect(photograph.file, state.model, waiting);
  } catch (error) {
    photograph.problem = `${photograph.name}: ${error.message}`;
  }
  if (isShown()) {
    turnTo(index);
    const found = shownDetections().length;
    show(photograph.problem ?? `${photograph.name} answered, ${found} shown`, Boolean(photograph.problem));
  }
}

async function loadModel() {
  const { manifest } = await askModel();
  state.model = manifest;
  at("model").textContent = `${manifest.name} ${manifest.version}`;
  at("threshold").min = Math.floor(100 * manifest.suppression.score) / 100;
  // The server's own default.
  state.threshold = manifest.thresholds?.every.score ?? state.threshold;
  at("threshold").value = state.threshold;
  at("most").max = manifest.max_proposals;
}

async function copy() {
  const text = at("json");
  text.value = shownAnswer();
  try {
    // Only there over TLS and on localhost.
    await navigator.clipboard.writeText(text.value);
    show("JSON copied");
  } catch {
    text.closest("details").open = true;
    text.focus();
    text.select();
    show(document.execCommand("copy") ? "JSON copied" : "JSON selected: copy it by hand");
  }
}

/** Saves the photograph in its own size, with what is drawn on it. */
function save() {
  const { name } = current();
  const { width, height } = imageOf(current());
  const canvas = document.createElement("canvas");
  draw(canvas, scene(), 1, Math.max(2, Math.round(Math.min(width, height) / 180)));
  canvas.toBlob((blob) => {
    const address = URL.createObjectURL(blob);
    const stem = name.replace(/\.[^.]*$/, "");
    element("a", { href: address, download: `${stem}-detections.png` }).click();
    URL.revokeObjectURL(address);
    show("Picture saved");
  });
}

function listen() {
  at("files").addEventListener("change", (event) => {
    take([...event.target.files]);
    // The same file may be chosen again.
    event.target.value = "";
  });
  document.addEventListener("paste", (event) => take([...event.clipboardData.files]));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    take([...event.dataTransfer.files]);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && state.chosen) {
      choose(state.chosen);
    }
  });
  for (const name of ["threshold", "most"]) {
    at(name).addEventListener("input", () => {
      state[name] = Number(at(name).value);
      update();
    });
  }
  at("canvas").addEventListener("click", ({ offsetX, offsetY }) => {
    const scale = imageOf(current()).width / at("canvas").clientWidth;
    const found = shownDetections();
    const hit = found[boxAt(found.map((each) => each.box), offsetX * scale, offsetY * scale)];
    if (hit ?? state.chosen) {
      choose(hit ?? state.chosen);
    }
  });
  at("previous").addEventListener("click", () => turnTo(state.current - 1));
  at("next").addEventListener("click", () => turnTo(state.current + 1));
  at("copy").addEventListener("click", copy);
  at("save").addEventListener("click", save);
  window.addEventListener("resize", () => current() && paint());
}

listen();
const modelAsked = loadModel();
modelAsked.catch((error) => show(`The model cannot be asked: ${error.message}`, true));
