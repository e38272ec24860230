// The histogram of colorfulness and the wheel of hues. page.js has the data and the state that they draw.

const PLOT_HEIGHT = 100;
const LABEL_ROW_PX = 20;

let barWidthM = 0;
let plotWidthPx = 0;  // kept, because asking for it while the threshold moves would lay out the page twice

function shape(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** Draw the histogram, its levels and its axis, for the width of the window. */
function drawHistogram() {
  plotWidthPx = byId("plot").clientWidth;
  barWidthM = plotWidthPx < 640 ? 2 : 1;
  const svg = byId("histogram");
  svg.setAttribute("viewBox", `0 0 ${extentM / barWidthM} ${PLOT_HEIGHT}`);
  byId("kept-area").setAttribute("height", PLOT_HEIGHT);
  byId("kept-area").setAttribute("width", extentM);
  drawLevels();
  drawAxis();
  drawBars();
}

/** Draw a line at the start of each level of colorfulness, and its name; where they are narrow, names are in several rows. */
function drawLevels() {
  const levels = page.levels.map(([lowest, name]) => {
    const level = element("span", "level", element("span", "", name));
    level.style.left = (100 * lowest) / extentM + "%";
    return level;
  });
  byId("levels").replaceChildren(...levels);
  const labels = levels.map((level, i) => {
    const width = level.firstChild.offsetWidth;
    return { width, left: Math.min((plotWidthPx * page.levels[i][0]) / extentM, plotWidthPx - width) };
  });
  const rows = labelRows(labels);
  levels.forEach((level, i) => {
    level.firstChild.style.top = rows[i] * LABEL_ROW_PX + "px";
    level.firstChild.style.left = labels[i].left - (plotWidthPx * page.levels[i][0]) / extentM + "px";
  });
  byId("plot").style.setProperty("--levels-height", (Math.max(...rows) + 1) * LABEL_ROW_PX + "px");
}

function drawAxis() {
  const pxPerM = plotWidthPx / extentM;
  const beyond = page.tones.some((tone) => tone.bins.length > lastBin) || page.blocked.length > lastBin;
  let last = -Infinity;
  const ticks = page.levels.map(([lowest]) => lowest).filter((m) =>
    (m - last) * pxPerM >= 26 && !(beyond && (extentM - m) * pxPerM < 50) && ((last = m), true));
  byId("axis").replaceChildren(...ticks.map((m) => {
    const tick = element("span", "", String(m));
    tick.style.left = (100 * m) / extentM + "%";
    return tick;
  }));
  if (beyond) byId("axis").append(element("span", "end", `${extentM}+`));
}

function drawBars() {
  const lists = (tones) => tones.map((tone) => tone.bins);
  const all = barsOf([...lists(page.tones), page.blocked, page.listed], page.binsPerM, barWidthM, extentM);
  const keptTones = page.tones.filter((tone) => isKept(tone, state.keep));
  const keepable = barsOf([...lists(keptTones), page.listed], page.binsPerM, barWidthM, extentM);
  const highest = fullHeight(all);
  byId("gray-count").textContent = all[0] > highest ? `\u2191 ${grouped(all[0])}` : "";
  byId("bars-all").setAttribute("d", barsPath(all, highest, PLOT_HEIGHT));
  byId("bars-kept").setAttribute("d", barsPath(keepable, highest, PLOT_HEIGHT));
}

/** Show the wheel, its summary, and the gallery of the chosen hue. */
function showHues(counts) {
  byId("hues").hidden = !counts.length;
  if (!counts.length) return;
  const total = counts.reduce((sum, count) => sum + count, 0);
  const half = shortestHalf(counts);
  const degrees = 360 / counts.length;
  const middle = hueName((half.first + half.length / 2) * degrees);
  byId("hue-summary").textContent = [
    "No photo is kept.",
    `The only photo has a hue around ${middle}.`,
  ][total] ?? `Half of the ${grouped(total)} photos have hues within ${half.length * degrees} degrees, around ${middle}.`;
  const choices = hueGroups(counts.length)
    .map((hue) => ({ ...hue, key: hue.name, label: hue.name, photos: hue.sectors.reduce((sum, i) => sum + counts[i], 0) }));
  const there = choices.filter((hue) => hue.photos);
  hues.chosen ??= there.reduce((most, hue) => (hue.photos > most.photos ? hue : most), there[0] ?? {}).key;
  hues.show(there);
  drawWheel(counts, choices);
}

/** Draw the hue wheel: the area of a sector is its count, the rim shows the hues, and each named hue can be chosen. */
function drawWheel(counts, choices) {
  const deg = 360 / counts.length;
  const most = Math.max(...counts);
  const color = (i) => `lch(66% 58 ${(i + 0.5) * deg})`;
  const radius = (count) => Math.sqrt(20 * 20 + ((98 * 98 - 20 * 20) * count) / (most || 1));
  const groups = choices.map((hue) => {
    const chosen = hue.key === hues.chosen;
    const group = shape("g", { role: "radio", "aria-checked": chosen, "aria-label": `${hue.name}: ${grouped(hue.photos)} photos` });
    if (hue.photos) group.setAttribute("tabindex", chosen ? 0 : -1);
    else group.setAttribute("aria-disabled", true);
    for (const i of hue.sectors) {
      group.append(
        shape("path", { d: wedgePath(i * deg, (i + 1) * deg, 20, 122), class: "hit" }),
        shape("path", { d: wedgePath(i * deg, (i + 1) * deg, 106, chosen ? 118 : 112), fill: color(i) }),
        shape("path", { d: wedgePath(i * deg + 0.6, (i + 1) * deg - 0.6, 20, radius(counts[i])), fill: color(i), class: "wedge" }));
    }
    const angle = (-hue.middleDeg * Math.PI) / 180;
    const anchor = Math.abs(Math.cos(angle)) < 0.4 ? "middle" : Math.cos(angle) < 0 ? "end" : "start";
    const label = shape("text", { x: 124 * Math.cos(angle), y: 129 * Math.sin(angle), "text-anchor": anchor });
    label.textContent = hue.name;
    group.append(label);
    group.addEventListener("click", () => {
      if (!hue.photos) return;
      hues.choose(hue.key);
      showHues(counts);
    });
    return group;
  });
  const wheel = byId("wheel");
  const hadFocus = wheel.contains(document.activeElement);
  wheel.replaceChildren(shape("circle", { r: 98, class: "rim" }), ...groups);
  if (hadFocus) wheel.querySelector("[aria-checked=true]")?.focus();
}

function initWheel() {
  const draw = () => showHues(hueCounts(page, state.lineBin, state.keep));
  byId("hues").querySelector(".chips").addEventListener("click", draw);
  byId("wheel").addEventListener("keydown", (event) => {
    const there = [...byId("wheel").querySelectorAll("g[tabindex]")];
    const at = there.indexOf(document.activeElement);
    const step = { ArrowLeft: 1, ArrowUp: 1, ArrowRight: -1, ArrowDown: -1, Enter: 0, " ": 0 }[event.key];
    if (at < 0 || step === undefined) return;
    event.preventDefault();
    const to = there[(at + step + there.length) % there.length];
    to.focus();
    to.dispatchEvent(new MouseEvent("click"));
  });
}
