// The lists beside the photograph: elements out of answers. Names come from a model file, so they are only ever text.

/** An element with these properties and children. */
export function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** A checkbox with a colour, a name and a count; `changed` is called with its state. */
export function choice(name, colour, checked, changed) {
  const box = element("input", { type: "checkbox", checked });
  box.addEventListener("change", () => changed(box.checked));
  const count = element("span", { className: "count" });
  const label = element("label", { className: "choice" }, box, swatch(colour), named(name), count);
  label.dataset.name = name;
  return label;
}

/** A button for a detection; `chosen` is called when it is pressed. */
export function detectionButton(detection, colour, chosen) {
  const score = element("span", { className: "count", textContent: percent(detection.score) });
  const level = element("span", { textContent: detection.level });
  const button = element("button", { type: "button" }, swatch(colour), named(detection.label), level, score);
  button.addEventListener("click", chosen);
  return element("li", {}, button);
}

/** The rows of the table of times. */
export function timeRows({ timings_s: timings, batch }) {
  const rows = Object.entries(timings).map(([stage, seconds]) => [stage, `${(1000 * seconds).toFixed(1)} ms`]);
  const [height, width] = batch.bucket;
  rows.push(["images in the batch", batch.size], ["frame", `${width} x ${height}`]);
  return rows.flatMap(([term, value]) => [
    element("dt", { textContent: term }),
    element("dd", { textContent: value }),
  ]);
}

/** A probability in words for people. */
export function percent(score) {
  return `${(100 * score).toFixed(1)} %`;
}

function named(name) {
  return element("span", { className: "name", textContent: name });
}

function swatch(colour) {
  const made = element("span", { className: "swatch" });
  made.style.background = colour;
  return made;
}
