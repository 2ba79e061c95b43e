// Pictures of a stem: its stretches, its sound, and its probabilities over time.

function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function shape(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function classesIn(label) {
  return label.split("+").filter(Boolean);
}

// The names of the stretches above the sound; their start is what a click plays from.
function stretchNames(segments, seconds) {
  const names = segments.map((segment) => {
    const [start, end, label] = segment;
    const kind = label.includes("+") ? "several" : label || "unjudged";
    const title = stretchWords(segment);
    const name = element("span", { class: kind, title, "data-start": start }, label || "?");
    name.style.left = `${(start / seconds) * 100}%`;
    name.style.width = `${((end - start) / seconds) * 100}%`;
    return name;
  });
  return element("div", { class: "stretches" }, ...names);
}

function stretchWords([start, end, label, confidence]) {
  const holds = label ? `${label}, confidence ${confidence.toFixed(2)}` : "too little to judge";
  return `${start.toFixed(1)}–${end.toFixed(1)} s: ${holds}`;
}

// Plots are 1000 wide and 100 high, and stretched to the place there is.
function plot(kind, words, ...shapes) {
  const box = { class: kind, viewBox: "0 0 1000 100", preserveAspectRatio: "none", role: "img" };
  return shape("svg", { ...box, "aria-label": words }, ...shapes);
}

function wavePlot(peaks, segments, seconds) {
  const bars = segments.flatMap((segment) => {
    const [start, end, label] = segment;
    const names = classesIn(label);
    return names.map((name, index) => {
      const bar = band(start, end, seconds, index / names.length, 1 / names.length);
      bar.setAttribute("class", name);
      bar.append(shape("title", {}, stretchWords(segment)));
      return bar;
    });
  });
  return plot("wave", "the sound over time", ...bars, shape("path", { d: wavePath(peaks) }));
}

function band(start, end, seconds, top, share) {
  const [x, width] = [start, end - start].map((value) => ((value / seconds) * 1000).toFixed(1));
  return shape("rect", { x, width, y: top * 100, height: share * 100 });
}

// A bar for each peak, as high above the middle as below.
function wavePath(peaks) {
  const step = 1000 / peaks.length;
  const bars = peaks.map((peak, index) => {
    const half = Math.max(0.5, peak * 46);
    const wide = (step * 0.7).toFixed(2);
    const start = `M${(index * step).toFixed(1)} ${(50 - half).toFixed(1)}`;
    return `${start}h${wide}v${(2 * half).toFixed(1)}h-${wide}z`;
  });
  return bars.join("");
}

function curvePlot(curve, threshold, seconds) {
  const y = (probability) => (94 - probability * 88).toFixed(1);
  const heard = curve.heard.map(([start, end]) => band(start, end, seconds, 0, 1));
  const level = shape("line", { x1: 0, x2: 1000, y1: y(threshold), y2: y(threshold) });
  const lines = Object.entries(curve.lines).map(([name, line]) => {
    const points = unpacked(line).map((value, index) => [curve.x[index], y(value)]);
    // A single point is drawn as a short line.
    if (points.length === 1) points.push([points[0][0] + 8, points[0][1]]);
    return shape("polyline", { class: name, points: points.join(" ") });
  });
  return plot("curve", "probability over time", ...heard, level, ...lines);
}

// Numbers from 0 to 1, of a byte each.
function unpacked(text) {
  return Array.from(atob(text), (each) => each.charCodeAt(0) / 255);
}
