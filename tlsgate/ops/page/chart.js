// Line charts of the last hour.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 80;

// A figure with one line for each of `series`: {name, values}, at most two; the newest value at the right edge, of
// `room` that there may be.
export function chart(title, series, room) {
  const top = Math.max(1, ...series.flatMap((each) => each.values));
  const figure = document.createElement("figure");
  figure.append(caption(title, series), drawing(title, series, room, top));
  return figure;
}

function caption(title, series) {
  const line = document.createElement("figcaption");
  line.append(title);
  series.forEach((each, index) => {
    const name = document.createElement("span");
    const mark = document.createElement("i");
    mark.className = colour(index);
    name.append(mark, `${each.name} ${number(each.values.at(-1) ?? 0)}, at most ${number(Math.max(0, ...each.values))}`);
    line.append(name);
  });
  return line;
}

function drawing(title, series, room, top) {
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  svg.setAttribute("aria-label", title);
  svg.append(element("line", { x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 }));
  series.forEach((each, index) => {
    const first = room - each.values.length;
    const points = each.values.map((value, at) => {
      const x = ((first + at) * WIDTH) / (room - 1);
      return `${x.toFixed(1)},${(HEIGHT - 2 - (value / top) * (HEIGHT - 6)).toFixed(1)}`;
    });
    svg.append(element("polyline", { points: points.join(" "), class: colour(index) }));
  });
  return svg;
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  return made;
}

const colour = (index) => (index ? "second" : "first");
const number = (value) => value.toLocaleString("en", { maximumFractionDigits: 1 });
