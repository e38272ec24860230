// Builds the document from the data and the functions of logic.js. Data is only inserted as text, never as HTML.

const page = prepared(JSON.parse(document.getElementById("data").textContent));
const extentM = extentOf(page);
const lastBin = extentM * page.binsPerM;
const byId = (id) => document.getElementById(id);
const state = { lineBin: page.lineBin, keep: new Set(toneNamesKept(page.tones)) };

const NEAREST = 6;
const FIRST = 24;
const PLOT_HEIGHT = 100;

/** A new element with a class and children (elements or text). */
function element(tag, className = "", ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function shape(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// Galleries

/** A gallery of photos. It keeps its tiles, so that moving the threshold decodes no thumbnail twice. */
class Gallery {
  constructor(box, { first = FIRST, sorted = false, empty = "No photos to show here." } = {}) {
    this.box = box;
    this.first = first;
    this.limit = first;
    this.sorted = sorted;
    this.empty = empty;
    this.tiles = new Map();
    this.more = element("button", "more", "");
    this.more.type = "button";
    this.more.addEventListener("click", () => this.showMore());
    box.setAttribute("role", "group");
    box.addEventListener("keydown", (event) => this.move(event));
  }

  /** Show the first photos; a gallery that is not `fixed` has a button to show more. */
  show(photos, { fixed = false } = {}) {
    this.photos = photos;
    this.shown = this.sorted ? photos.slice(0, this.limit).sort(lessColourful) : photos.slice(0, this.limit);
    const { shown } = this;
    const tiles = shown.map((photo) => this.tile(photo));
    this.box.replaceChildren(...(tiles.length ? tiles : [element("p", "quiet", this.empty)]));
    this.box.classList.toggle("entries", shown.length > 0 && shown.every((photo) => photo.error !== null));
    tiles.forEach((tile, i) => { tile.tabIndex = i ? -1 : 0; });
    const left = photos.length - shown.length;
    this.more.textContent = `Show ${Math.min(left, 2 * this.first)} more`;
    if (left && !fixed) this.box.after(this.more);
    else this.more.remove();
  }

  showMore() {
    const next = this.limit;
    this.limit += 2 * this.first;
    this.show(this.photos);
    this.focus(next);
  }

  tile(photo) {
    if (!this.tiles.has(photo)) this.tiles.set(photo, this.newTile(photo));
    return this.tiles.get(photo);
  }

  newTile(photo) {
    const tile = photo.error === null
      ? element("button", "tile", picture(photo), element("span", "caption", mOf(photo)))
      : element("button", "entry", element("b", "", fileName(photo)), element("span", "quiet", errorText(photo)));
    tile.type = "button";
    tile.setAttribute("aria-label", `${photo.path}, ${photo.error ?? "colorfulness " + mOf(photo)}`);
    const aspect = photo.size ? photo.size[0] / photo.size[1] : 1.2;
    tile.style.setProperty("--aspect", Math.min(2.5, Math.max(0.5, aspect)));
    tile.addEventListener("click", () => openPhoto(this.shown, this.shown.indexOf(photo)));
    return tile;
  }

  focus(index) {
    const tiles = [...this.box.children];
    tiles.forEach((tile, i) => { tile.tabIndex = i === index ? 0 : -1; });
    tiles[index]?.focus();
  }

  move(event) {
    const tiles = [...this.box.children];
    const at = tiles.indexOf(document.activeElement);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: tiles.length - 1 }[event.key];
    if (at < 0 || to === undefined || !tiles[to]) return;
    event.preventDefault();
    this.focus(to);
  }
}

const fileName = (photo) => photo.path.slice(photo.path.lastIndexOf("/") + 1);

/** The error without its kind, which the chip shows. */
const errorText = (photo) => photo.error.slice(photo.error.indexOf(":") + 1).trim();

/** The thumbnail of a photo, or a box with the reason why there is none. */
function picture(photo) {
  if (!photo.thumbnail) {
    const why = photo.error === null ? "No thumbnail: missing or unreadable now" : photo.errorKind;
    return element("span", "placeholder", element("b", "", why), element("span", "", fileName(photo)));
  }
  const image = element("img");
  image.src = "data:image/webp;base64," + photo.thumbnail;
  [image.width, image.height] = photo.size;
  image.alt = "";
  return image;
}

/** Buttons of which one is chosen, and a gallery of its photos. */
class Facets {
  constructor(section, photosOf, options) {
    this.chips = section.querySelector(".chips");
    this.gallery = new Gallery(section.querySelector(".gallery"), options);
    this.photosOf = photosOf;
  }

  /** Show buttons for choices {key, label, photos: count}; the chosen key stays chosen while it exists. */
  show(choices) {
    if (!choices.some((choice) => choice.key === this.chosen)) this.chosen = choices[0]?.key;
    const hadFocus = this.chips.contains(document.activeElement);
    this.chips.replaceChildren(...choices.map((choice) => this.chip(choice, choices)));
    if (hadFocus) this.chips.querySelector("[aria-pressed=true]")?.focus();
    this.gallery.show(choices.length ? this.photosOf(this.chosen) : []);
  }

  chip(choice, choices) {
    const chip = element("button", "chip", choice.label + " ", element("span", "quiet", grouped(choice.photos)));
    chip.type = "button";
    chip.setAttribute("aria-pressed", choice.key === this.chosen);
    chip.addEventListener("click", () => {
      this.choose(choice.key);
      this.show(choices);
    });
    return chip;
  }

  choose(key) {
    this.chosen = key;
    this.gallery.limit = this.gallery.first;
  }
}

// The threshold

const justBelow = new Gallery(byId("just-below"), { first: NEAREST, empty: "No photo of these tones is below the threshold." });
const justAbove = new Gallery(byId("just-above"), { first: NEAREST, empty: "No photo of these tones is above the threshold." });
const below = new Gallery(byId("below"), { sorted: true });
const above = new Gallery(byId("above"), { sorted: true });
const reasons = new Facets(byId("reasons"), (kind) =>
  spread(page.photos.filter((photo) => hasReason(photo, kind, page, state.lineBin, state.keep))), { sorted: true });

const hues = new Facets(byId("hues"), (name) => {
  const own = hueGroups(wheelSectors).find((hue) => hue.name === name).sectors;
  return spread(page.photos.filter((photo) => own.includes(photo.sector) && !reasonsOf(photo, page, state.lineBin, state.keep).length));
}, { sorted: true, empty: "" });
const wheelSectors = Math.max(0, ...page.tones.map((tone) => tone.hues.length));

let barWidthM = 0;

/** Draw the histogram, its levels and its axis; drawn again only if the width of the window needs other bars. */
function drawHistogram() {
  const wanted = byId("plot").clientWidth < 640 ? 2 : 1;
  if (wanted === barWidthM) return;
  barWidthM = wanted;
  const svg = byId("histogram");
  svg.setAttribute("viewBox", `0 0 ${extentM / barWidthM} ${PLOT_HEIGHT}`);
  byId("kept-area").setAttribute("height", PLOT_HEIGHT);
  byId("kept-area").setAttribute("width", extentM);
  const levels = page.levels.map(([lowest, name], i) => {
    const end = page.levels[i + 1]?.[0] ?? extentM;
    const band = element("span", "level", element("span", "", name));
    band.style.left = (100 * lowest) / extentM + "%";
    band.style.width = (100 * (end - lowest)) / extentM + "%";
    return band;
  });
  byId("levels").replaceChildren(...levels);
  for (const band of levels) band.firstChild.hidden = band.firstChild.offsetWidth > band.clientWidth;
  const pxPerM = byId("plot").clientWidth / extentM;
  let last = -Infinity;
  const ticks = page.levels.map(([lowest]) => lowest).filter((m) => (m - last) * pxPerM >= 26 && ((last = m), true));
  byId("axis").replaceChildren(...ticks.map((m) => {
    const tick = element("span", "", String(m));
    tick.style.left = (100 * m) / extentM + "%";
    return tick;
  }));
  const beyond = page.tones.some((tone) => tone.bins.length > lastBin) || page.blocked.length > lastBin;
  if (beyond) byId("axis").append(element("span", "end", `${extentM} and above`));
  drawBars();
}

function drawBars() {
  const lists = (tones) => tones.map((tone) => tone.bins);
  const all = barsOf([...lists(page.tones), page.blocked], page.binsPerM, barWidthM, extentM);
  const keepable = barsOf(lists(page.tones.filter((tone) => state.keep.has(tone.name))), page.binsPerM, barWidthM, extentM);
  const highest = fullHeight(all);
  byId("gray-count").textContent = all[0] > highest ? `\u2191 ${grouped(all[0])}` : "";
  byId("bars-all").setAttribute("d", barsPath(all, highest, PLOT_HEIGHT));
  byId("bars-kept").setAttribute("d", barsPath(keepable, highest, PLOT_HEIGHT));
}

/** Update everything that depends on the threshold and the tones. */
function update() {
  const { lineBin, keep } = state;
  const m = lineBin / page.binsPerM;
  const kept = keptCount(page, lineBin, keep);
  const dropped = page.rows - kept;
  const text = lineText(lineBin, page.binsPerM);
  byId("kept").textContent = grouped(kept);
  byId("dropped").textContent = grouped(dropped);
  byId("kept-share").textContent = percent(kept, page.rows);
  byId("dropped-share").textContent = percent(dropped, page.rows);
  byId("kept-area").setAttribute("x", m / barWidthM);
  const handle = byId("handle");
  handle.style.left = (100 * m) / extentM + "%";
  handle.classList.toggle("near-end", m > 0.6 * extentM);
  handle.setAttribute("aria-valuenow", m);
  handle.setAttribute("aria-valuetext",
    `${text}, ${levelAt(page.levels, m)} colorful: ${grouped(kept)} kept, ${grouped(dropped)} rejected`);
  byId("flag").replaceChildren(m.toFixed(1) + " ", element("small", "", levelAt(page.levels, m)));
  if (document.activeElement !== byId("number")) byId("number").value = m.toFixed(1);
  byId("command").textContent = commandFor(page, lineBin, keep);
  const counts = reasonCounts(page, lineBin, keep);
  byId("breakdown").textContent = counts.length
    ? counts.map((reason) => `${reason.name}: ${grouped(reason.photos)}`).join(" \u00b7 ")
    : "No photo is rejected.";
  updateGalleries(counts);
}

function updateGalleries(counts) {
  const { lineBin, keep } = state;
  const split = sides(page, lineBin, keep);
  justBelow.show(split.below.slice(0, NEAREST), { fixed: true });
  justAbove.show(split.above.slice(0, NEAREST), { fixed: true });
  below.show(spread(split.below));
  above.show(spread(split.above));
  byId("below-count").textContent = grouped(belowCount(page, lineBin, keep));
  byId("above-count").textContent = grouped(keptCount(page, lineBin, keep));
  reasons.show(counts.map((reason) => ({ key: kindOf(reason.name), label: reason.name, photos: reason.photos })));
  byId("reasons").hidden = !counts.length || page.unreadable === page.rows;
  showHues(hueCounts(page, lineBin, keep));
}

/** The name of a reason without the threshold, so that it stays chosen while the threshold moves. */
const kindOf = (name) => (page.reasons.length ? name : name.replace(/^(colorfulness <) .*/, "$1"));

let frameRequested = 0;

function moveLine(bin) {
  state.lineBin = Math.min(lastBin, Math.max(0, bin));
  if (!frameRequested) frameRequested = requestAnimationFrame(() => { frameRequested = 0; update(); });
}

function initLine() {
  const handle = byId("handle");
  const plot = byId("plot");
  handle.setAttribute("aria-valuemin", 0);
  handle.setAttribute("aria-valuemax", extentM);
  const toPointer = (event) => {
    const box = byId("histogram").getBoundingClientRect();
    moveLine(nearestBin(((event.clientX - box.left) / box.width) * extentM, page.binsPerM, lastBin));
  };
  plot.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    plot.setPointerCapture(event.pointerId);
    event.preventDefault();
    handle.focus({ preventScroll: true });
    toPointer(event);
  });
  plot.addEventListener("pointermove", (event) => {
    if (plot.hasPointerCapture(event.pointerId)) toPointer(event);
  });
  handle.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? page.binsPerM : 1;
    const to = {
      ArrowLeft: state.lineBin - step, ArrowDown: state.lineBin - step,
      ArrowRight: state.lineBin + step, ArrowUp: state.lineBin + step,
      PageDown: state.lineBin - 5 * page.binsPerM, PageUp: state.lineBin + 5 * page.binsPerM,
      Home: 0, End: lastBin,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    moveLine(to);
  });
  const number = byId("number");
  number.max = extentM;
  number.addEventListener("input", () => {
    if (number.value !== "") moveLine(nearestBin(number.valueAsNumber, page.binsPerM, lastBin));
  });
  number.addEventListener("blur", update);
}

function initTones() {
  const choices = page.tones.filter((tone) => tone.name !== null && tone.name !== "color" && tone.photos);
  byId("keep-tones").hidden = !choices.length;
  byId("keep-tones").append(...choices.map((tone) => {
    const box = element("input");
    box.type = "checkbox";
    box.checked = state.keep.has(tone.name);
    box.addEventListener("change", () => {
      if (box.checked) state.keep.add(tone.name);
      else state.keep.delete(tone.name);
      drawBars();
      update();
    });
    return element("label", "", box, tone.name + " ", element("span", "quiet", grouped(tone.photos)));
  }));
}

function initCopy() {
  byId("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(byId("command").textContent);
      byId("copy").textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(byId("command"));
      byId("copy").textContent = "Press Ctrl+C";
    }
    setTimeout(() => { byId("copy").textContent = "Copy"; }, 2000);
  });
}

// Parts that don't depend on the threshold

function showTones() {
  const tones = page.tones.filter((tone) => tone.photos);
  const doubt = (photo) => photo.confidence ?? 1;
  const facets = new Facets(byId("tones"), (name) =>
    page.photos.filter((photo) => photo.error === null && photo.tone === name).sort((a, b) => doubt(a) - doubt(b)));
  facets.show(tones.map((tone) => ({ key: tone.name, label: tone.name ?? "unknown", photos: tone.photos })));
  byId("tones").hidden = tones.every((tone) => tone.name === null);
}

function showErrors() {
  const facets = new Facets(byId("errors"), (kind) => page.photos.filter((photo) => photo.errorKind === kind));
  facets.show(page.errors.map((error) => ({ key: error.name, label: error.name, photos: error.photos })));
  byId("errors").hidden = !page.errors.length;
}

function showDuplicates() {
  const photos = new Map(page.photos.map((photo) => [photo.row, photo]));
  const { bits, nearBits } = page.twins;
  const found = "curate filter --duplicates drop-near also finds those";
  byId("twins-summary").textContent =
    `${grouped(page.twins.photos)} photos in ${grouped(page.twins.groups)} groups ` + (
      bits === nearBits ? "look alike. curate filter --duplicates drop-near finds the same groups."
        : bits ? `differ in at most ${bits} of the 128 bits of their fingerprints. For a manifest of this size the page compares no further; ${found} up to ${nearBits} bits.`
          : `have the same fingerprint or content. For a manifest of this size the page finds no others; ${found} that differ slightly.`);
  for (const group of page.twins.shown) {
    const members = group.rows.map((row) => photos.get(row)).filter(Boolean);
    const box = element("div", "gallery squares");
    const title = element("h3", "", `${grouped(group.photos)} photos`);
    if (members.length > 1) byId("twin-groups").append(element("div", "", title, box));
    new Gallery(box).show(members, { fixed: true });
  }
  byId("twins").hidden = !page.twins.groups;
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

function showHeader() {
  const kinds = { scan: "a scan", clean: "the kept photos", rejected: "the rejected photos" };
  const sampled = page.photos.length < page.rows;
  byId("facts").textContent = [
    `${grouped(page.rows)} ${page.rows === 1 ? "photo" : "photos"}`,
    kinds[page.kind] ?? "origin unknown",
    sampled ? `${grouped(page.photos.length)} of them shown` : "all shown",
  ].join(" \u00b7 ");
  if (page.unreadable === page.rows) {
    for (const part of document.querySelectorAll(".plot, .legend, .controls, .command, #nearest, #sides")) part.hidden = true;
  }
  byId("scope").textContent = page.unreadable === page.rows ? "No photo could be read, so there is no threshold to choose." : {
    clean: "This manifest has only kept photos. To see which photos a lower threshold would keep, make a report of the scan.",
    rejected: "This manifest has only rejected photos. Here, kept means: a lower threshold or other tones would keep it.",
  }[page.kind] ?? "";
  byId("scope").hidden = !byId("scope").textContent;
  byId("sample").textContent = sampled
    ? "Counts are of all rows. The photos shown are a sample: some of every colorfulness, tone, reason and error, and most near the threshold."
    : "Counts are of all rows, and all photos are shown.";
  byId("made-by").textContent = `vividset ${page.version}` + (page.madeBy ? `. The manifest was made by: ${page.madeBy}` : "");
}

function showNav() {
  const sections = [...document.querySelectorAll("main > section")].filter((section) => !section.hidden);
  byId("nav").append(...sections.map((section) => {
    const link = element("a", "", section.dataset.nav);
    link.href = "#" + section.id;
    return element("li", "", link);
  }));
}

// One photo

let opened = { photos: [], index: 0 };

function openPhoto(photos, index) {
  opened = { photos, index };
  showPhoto();
  byId("photo").showModal();
}

function showPhoto() {
  const { photos, index } = opened;
  const photo = photos[index];
  const why = reasonsOf(photo, page, state.lineBin, state.keep);
  byId("photo-picture").replaceChildren(picture(photo));
  byId("photo-path").textContent = photo.path;
  byId("photo-source").textContent = "in " + photo.source;
  byId("photo-verdict").textContent = why.length ? "Rejected: " + why.join("; ") : "Kept with this threshold and these tones";
  byId("photo-verdict").className = why.length ? "is-dropped" : "is-kept";
  const rows = photo.numbers.map(([name, value]) =>
    element("div", "", element("dt", "", name), element("dd", "", value)));
  byId("photo-numbers").replaceChildren(...rows);
  byId("photo-place").textContent = `${index + 1} of ${photos.length}`;
  byId("photo-file").hidden = !photo.href;
  if (photo.href) byId("photo-file").href = photo.href;
  byId("previous").disabled = index === 0;
  byId("next").disabled = index === photos.length - 1;
}

function initDialog() {
  const dialog = byId("photo");
  const go = (step) => {
    if (!opened.photos[opened.index + step]) return;
    opened.index += step;
    showPhoto();
  };
  byId("previous").addEventListener("click", () => go(-1));
  byId("next").addEventListener("click", () => go(1));
  byId("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) { event.preventDefault(); go(step); }
  });
}

showHeader();
initLine();
initTones();
initCopy();
initDialog();
initWheel();
drawHistogram();
update();
showTones();
showErrors();
showDuplicates();
showNav();
addEventListener("resize", () => { drawHistogram(); update(); });
