// A photograph with boxes over it. All lengths of the scene are pixels of the photograph; `scale` makes them the canvas's.

// The golden angle: neighbouring classes are far apart. service/pictures/drawing.py has the same colours.
const GOLDEN_ANGLE = 137.508;
const LEVEL_COLOURS = ["#ff6b6b", "#ffd43b", "#69db7c", "#4dabf7", "#da77f2", "#ffa94d", "#63e6be", "#f783ac"];
const HALO = "rgba(0, 0, 0, 0.75)";
const BLANK = "#6b7280";

/** The colour of a class by its place among the model's. Dark text can be read on each. */
export function classColour(index) {
  return `hsl(${Math.round((index * GOLDEN_ANGLE) % 360)}, 85%, 70%)`;
}

/** The colour of a level by its place in the pyramid. */
export function levelColour(index) {
  return LEVEL_COLOURS[index % LEVEL_COLOURS.length];
}

/**
 * Draws `scene` on `canvas`, which becomes `scale` times the photograph's size. `unit` is the width of a line.
 *
 * scene: bitmap (or null), width, height, proposals [{box, colour, score}], boxes [{box, colour, text, faded}],
 * origin {box, colour, text} or null: the proposal behind what was chosen.
 */
export function draw(canvas, scene, scale, unit) {
  canvas.width = Math.max(1, Math.round(scene.width * scale));
  canvas.height = Math.max(1, Math.round(scene.height * scale));
  const context = canvas.getContext("2d");
  const pen = { context, scale, unit, width: canvas.width };
  if (scene.bitmap) {
    context.drawImage(scene.bitmap, 0, 0, canvas.width, canvas.height);
  } else {
    context.fillStyle = BLANK;
    context.fillRect(0, 0, canvas.width, canvas.height);
  }
  for (const { box, colour, score } of scene.proposals) {
    context.globalAlpha = 0.35 + 0.65 * score;
    outline(pen, box, colour, 0.6);
  }
  // The best last, so that its label lies on top.
  for (const each of scene.boxes.toReversed()) {
    context.globalAlpha = each.faded ? 0.4 : 1;
    outline(pen, each.box, each.colour, 1);
    label(pen, each, 0);
  }
  context.globalAlpha = 1;
  if (scene.origin) {
    context.setLineDash([4 * unit, 2 * unit]);
    outline(pen, scene.origin.box, scene.origin.colour, 1.3);
    context.setLineDash([]);
    label(pen, scene.origin, 1);
  }
}

/** The index of the smallest of `boxes` that holds the point, or -1. */
export function boxAt(boxes, x, y) {
  const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
  let best = -1;
  boxes.forEach((box, index) => {
    const [x1, y1, x2, y2] = box;
    const holds = x >= x1 && x <= x2 && y >= y1 && y <= y2;
    if (holds && (best < 0 || area(box) < area(boxes[best]))) {
      best = index;
    }
  });
  return best;
}

function outline({ context, scale, unit }, box, colour, weight) {
  const [x1, y1, x2, y2] = box.map((side) => side * scale);
  // A dark line below a bright one is seen on any photograph.
  for (const [style, width] of [[HALO, 2 * weight * unit + 2], [colour, weight * unit]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  }
}

function label({ context, scale, unit, width }, { box, colour, text }, corner) {
  const size = 6 * unit;
  context.font = `600 ${size}px system-ui, sans-serif`;
  const [wide, high] = [context.measureText(text).width + size, 1.5 * size];
  const left = Math.max(0, Math.min(box[0] * scale, width - wide));
  // The proposal's label stands at the lower edge, where the detection's does not.
  const edge = box[corner ? 3 : 1] * scale;
  const top = Math.max(0, corner ? edge - high : edge >= high ? edge - high : edge);
  context.fillStyle = colour;
  context.fillRect(left, top, wide, high);
  context.fillStyle = "#000";
  context.textBaseline = "middle";
  context.fillText(text, left + size / 2, top + high / 2);
}
