// What is shown of the answers: the state of the page, and what follows from it.

import { classColour, levelColour } from "./canvas.js";
import { percent } from "./sidebar.js";

/** Everything that is shown follows from this. A photograph is {name, file, bitmap, answer, problem}. */
export const state = {
  model: null,
  photographs: [],
  current: -1,
  chosen: null,
  threshold: 0.5,
  hiddenClasses: new Set(),
  shownLevels: new Set(),
  most: 10,
};
export const current = () => state.photographs[state.current];
export const imageOf = (photograph) => photograph?.answer?.images[0];

export function shownDetections() {
  const found = imageOf(current())?.detections ?? [];
  return found.filter((each) => each.score >= state.threshold && !state.hiddenClasses.has(each.label));
}

function shownProposals() {
  const levels = Object.entries(imageOf(current())?.proposals ?? {});
  return levels
    .filter(([level]) => state.shownLevels.has(level))
    .map(([level, proposals]) => [level, proposals.slice(0, state.most)]);
}

/** The proposal behind the chosen detection, or undefined. */
function origin() {
  const place = state.chosen?.proposal;
  return place && imageOf(current()).proposals[place.level]?.find((each) => each.index === place.index);
}

export const colourOfClass = (label) => classColour(state.model.classes.indexOf(label));
export const colourOfLevel = (level) => levelColour(state.model.levels.findIndex((each) => each.name === level));

export function scene() {
  const { width, height } = imageOf(current());
  const behind = origin();
  const { level, index } = state.chosen?.proposal ?? {};
  return {
    bitmap: current().bitmap,
    width,
    height,
    proposals: shownProposals().flatMap(([name, proposals]) =>
      proposals.map(({ box, score }) => ({ box, score, colour: colourOfLevel(name) })),
    ),
    boxes: shownDetections().map((each) => ({
      box: each.box,
      colour: colourOfClass(each.label),
      text: `${each.label} ${percent(each.score)}`,
      faded: state.chosen !== null && each !== state.chosen,
    })),
    origin: behind && { box: behind.box, colour: colourOfLevel(level), text: `${level} no. ${index}` },
  };
}

/** How a detection came about, in the words of the paper. */
export function story({ label, score, level, proposal }) {
  const behind = origin();
  const before = behind ? `, which held an object with ${percent(behind.score)}` : "";
  return (
    `${label}, ${percent(score)}: proposal ${proposal.index} of ${proposal.level}${before}` +
    `, was pooled from ${level} and became this box.`
  );
}

/** The answer with what is shown of it, and nothing else. */
export function shownAnswer() {
  const answer = current()?.answer;
  if (!answer) {
    return "";
  }
  const image = {
    ...imageOf(current()),
    detections: shownDetections(),
    proposals: Object.fromEntries(shownProposals()),
  };
  return JSON.stringify({ ...answer, images: [image] }, null, 2);
}
