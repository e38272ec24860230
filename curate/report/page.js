// The report page: the threshold, the counts and the command that follow from it, and the sections. It puts together the
// calculations of logic.js, the galleries of gallery.js and the charts of charts.js.

const page = prepared(JSON.parse(document.getElementById("data").textContent));
const extentM = extentOf(page);
const lastBin = extentM * page.binsPerM;
const state = { lineBin: page.lineBin, keep: new Set(namesKept(page)) };

const NEAREST_PHOTOS = 6;

// The threshold

const justBelow = new Gallery(byId("just-below"), { first: NEAREST_PHOTOS, empty: "No photo of these tones is below the threshold." });
const justAbove = new Gallery(byId("just-above"), { first: NEAREST_PHOTOS, empty: "No photo of these tones is above the threshold." });
const below = new Gallery(byId("below"), { sorted: true });
const above = new Gallery(byId("above"), { sorted: true });
const reasons = new Facets(byId("reasons"), (kind) =>
  spread(page.photos.filter((photo) => hasReason(photo, kind, page, state.lineBin, state.keep))), { sorted: true });

const hues = new Facets(byId("hues"), (name) => {
  const own = hueGroups(wheelSectors).find((hue) => hue.name === name).sectors;
  return spread(page.photos.filter((photo) => own.includes(photo.sector) && !reasonsOf(photo, page, state.lineBin, state.keep).length));
}, { sorted: true, empty: "" });
const wheelSectors = Math.max(0, ...page.tones.map((tone) => tone.hues.length));

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
  byId("gray-count").hidden = (m / extentM) * plotWidthPx < 80;  // the threshold's label is there
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
  justBelow.show(split.below.slice(0, NEAREST_PHOTOS), { fixed: true });
  justAbove.show(split.above.slice(0, NEAREST_PHOTOS), { fixed: true });
  below.show(spread(split.below));
  above.show(spread(split.above));
  byId("below-count").textContent = grouped(belowCount(page, lineBin, keep));
  byId("above-count").textContent = grouped(keptCount(page, lineBin, keep));
  reasons.show(counts.map((reason) => ({ key: kindOf(reason.name), label: reason.name, photos: reason.photos })));
  byId("reasons").hidden = !counts.length || page.unreadable === page.rows;
  showHues(hueCounts(page, lineBin, keep));
  showTicks();
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
  const choices = [...toneTotals().filter((tone) => tone.name !== null && tone.name !== "color"),
    ...page.kinds.filter((kind) => kind.name === "graphic")].filter((choice) => choice.photos);
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

/** Let a button copy the text of an element. */
function initCopy(button, source) {
  const label = button.textContent;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.value ?? source.textContent);
      button.textContent = "Copied";
    } catch {
      if (source.select) source.select();
      else getSelection().selectAllChildren(source);
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}

// Parts that don't depend on the threshold

/** The number of pictures of each tone, photos and graphics together. */
function toneTotals() {
  return [...new Set(page.tones.map((tone) => tone.name))].map((name) => ({
    name, photos: page.tones.reduce((sum, tone) => sum + (tone.name === name ? tone.photos : 0), 0) }));
}

function showTones() {
  const tones = toneTotals().filter((tone) => tone.photos);
  const doubt = (photo) => photo.confidence ?? 1;
  const facets = new Facets(byId("tones"), (name) =>
    page.photos.filter((photo) => photo.error === null && photo.tone === name).sort((a, b) => doubt(a) - doubt(b)));
  facets.show(tones.map((tone) => ({ key: tone.name, label: tone.name ?? "unknown", photos: tone.photos })));
  byId("tones").hidden = tones.every((tone) => tone.name === null);
}

function showKinds() {
  const kinds = page.kinds.filter((kind) => kind.photos);
  const distance = (photo) => Math.abs(photo.kindScore ?? Infinity);
  const facets = new Facets(byId("kinds"), (name) => page.photos
    .filter((photo) => photo.error === null && photo.kind === name).sort((a, b) => distance(a) - distance(b)));
  facets.show(kinds.map((kind) => ({ key: kind.name, label: kind.name, photos: kind.photos })));
  byId("kinds").hidden = !kinds.length;
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
      bits === nearBits ? "look alike. curate filter --duplicates drop-near keeps one photo of each group: the largest, then the one with the most usual colorfulness."
        : bits ? `differ in at most ${bits} of the 128 bits of their fingerprints. For a manifest of this size the page compares no further; ${found} up to ${nearBits} bits.`
          : `have the same fingerprint or content. For a manifest of this size the page finds no others; ${found} that differ slightly.`);
  for (const group of page.twins.shown) {
    const members = group.rows.map((row) => photos.get(row)).filter(Boolean);
    const box = element("div", "gallery squares");
    const title = element("h3", "", `${grouped(group.photos)} photos`);
    if (members.length > 1) byId("twin-groups").append(element("div", "", title, box));
    new Gallery(box, { bulk: false }).show(members, { fixed: true });
  }
  byId("twins").hidden = !page.twins.groups;
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
  byId("photo-verdict").textContent = why.length ? "Rejected: " + why.join("; ")
    : photo.waived.length ? "Kept by the keep list, although " + photo.waived.join("; ")
      : "Kept with this threshold and these tones";
  byId("photo-verdict").className = why.length ? "is-dropped" : "is-kept";
  const rows = photo.numbers.map(([name, value]) =>
    element("div", "", element("dt", "", name), element("dd", "", value)));
  byId("photo-numbers").replaceChildren(...rows);
  byId("photo-place").textContent = `${index + 1} of ${photos.length}`;
  byId("photo-tick").checked = isTicked(photo);
  byId("photo-tick").parentElement.hidden = !canTick(photo);
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
    if (event.key.toLowerCase() === "t" && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const photo = opened.photos[opened.index];
      setTicks([photo], !isTicked(photo));
    }
  });
}

showHeader();
initLine();
initTones();
initCopy(byId("copy"), byId("command"));
initDialog();
initTicks();
initWheel();
drawHistogram();
update();
showTones();
showKinds();
showErrors();
showDuplicates();
showNav();
addEventListener("resize", () => { drawHistogram(); update(); });
