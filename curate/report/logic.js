"use strict";
// Calculations of the page, as pure functions that don't use the document.
// "m" is colorfulness. A bin is 0.1 wide (1 / binsPerM). "Line" is the threshold: the lower edge of bin `lineBin`; that bin
// and all higher ones are kept.

/** Array of the number of photos in bin k and above, for each k. */
function tails(bins) {
  const sums = new Array(bins.length).fill(0);
  let sum = 0;
  for (let k = bins.length - 1; k >= 0; k--) sums[k] = sum += bins[k];
  return sums;
}

/** Number of photos in `bin` and above, from `tails`. */
const atLeast = (sums, bin) => (bin < sums.length ? sums[bin] : 0);

/** The data with cumulative sums, so that counts follow a moving threshold fast. */
function prepared(data) {
  const tones = data.tones.map((tone) => ({ ...tone, tails: tails(tone.bins), hueTails: tone.hues.map(tails) }));
  return { ...data, tones: tones, blockedTails: tails(data.blocked), listedTails: tails(data.listed) };
}

/** What is kept at first: names of tones, null for photos without a tone, which no rule rejects; and "graphic". */
const namesKept = (page) => [
  ...page.tones.filter((tone) => tone.kept && !tone.graphic).map((tone) => tone.name),
  ...(page.keepGraphics ? ["graphic"] : []),
];

/** Whether pictures of this tone and kind are kept. */
const isKept = (tone, keep) => keep.has(tone.name) && (!tone.graphic || keep.has("graphic"));

/** Number of photos that are kept with this threshold and these tones. */
function keptCount(page, lineBin, keep) {
  const listed = atLeast(page.listedTails, 0);
  return page.tones.reduce((sum, tone) => sum + (isKept(tone, keep) ? atLeast(tone.tails, lineBin) : 0), listed);
}

/** Number of photos of the kept tones that only the threshold rejects. */
function belowCount(page, lineBin, keep) {
  return page.tones.reduce(
    (sum, tone) => sum + (isKept(tone, keep) ? atLeast(tone.tails, 0) - atLeast(tone.tails, lineBin) : 0), 0);
}

/** Reasons and their numbers of photos: those of the filter that wrote the manifest, or those of this threshold and tones. */
function reasonCounts(page, lineBin, keep) {
  if (page.reasons.length) return page.reasons;
  const measured = page.tones.reduce((sum, tone) => sum + atLeast(tone.tails, 0) - atLeast(tone.tails, lineBin), 0);
  const counts = [{ name: "colorfulness < " + lineText(lineBin, page.binsPerM), photos: measured }];
  const measuredOf = (tones) => tones.reduce((sum, tone) => sum + atLeast(tone.tails, 0), 0);
  for (const name of new Set(page.tones.map((tone) => tone.name))) {
    const photos = measuredOf(page.tones.filter((tone) => tone.name === name));
    if (!keep.has(name)) counts.push({ name: "tone is " + name, photos });
  }
  const graphics = measuredOf(page.tones.filter((tone) => tone.graphic));
  if (!keep.has("graphic")) counts.push({ name: "kind is graphic", photos: graphics });
  counts.push({ name: "unreadable", photos: page.unreadable - page.missing });
  counts.push({ name: "missing", photos: page.missing });
  return counts.filter((reason) => reason.photos > 0);
}

/** The lower edge of a bin as text: 20 or 20.3. */
const lineText = (lineBin, binsPerM) => String(lineBin / binsPerM);

/** The bin with the lower edge closest to `m`, between 0 and `lastBin`. */
function nearestBin(m, binsPerM, lastBin) {
  const bin = Math.round(m * binsPerM);
  return Number.isNaN(bin) ? 0 : Math.min(lastBin, Math.max(0, bin));
}

/** The filter command for a threshold, tones and further words; all are quoted already. */
function commandFor(page, lineBin, keep, further = []) {
  const words = [page.command.before, "--min-colorfulness", lineText(lineBin, page.binsPerM)];
  for (const tone of page.tones) {
    if (tone.name !== null && tone.name !== "color" && !tone.graphic && keep.has(tone.name)) words.push("--keep-tone", tone.name);
  }
  if (keep.has("graphic")) words.push("--keep-kind", "graphic");
  return [...words, ...further, page.command.after].join(" ");
}

/** The name of the level of a colorfulness. */
function levelAt(levels, m) {
  return levels.reduce((word, [lowest, name]) => (m >= lowest ? name : word), levels[0][1]);
}

/** The reasons why a photo is rejected, as the filter writes them; empty if it is kept. */
function reasonsOf(photo, page, lineBin, keep) {
  if (photo.errorKind === "missing") return ["missing"];
  if (photo.error !== null) return ["unreadable: " + photo.error];
  if (photo.waived.length) return [];
  const others = photo.blocked ? photo.reasons.filter((reason) => !/^(colorfulness \S+ <|tone is|kind is) /.test(reason)) : [];
  const line = photo.bin < lineBin ? ["colorfulness " + mOf(photo) + " < " + lineText(lineBin, page.binsPerM)] : [];
  const tone = keep.has(photo.tone) ? [] : ["tone is " + photo.tone];
  const kind = photo.kind === "graphic" && !keep.has("graphic") ? ["kind is graphic"] : [];
  return [...line, ...tone, ...kind, ...others];
}

/** Whether a photo of the sample has a reason of this kind. */
function hasReason(photo, kind, page, lineBin, keep) {
  if (page.reasons.length) return photo.reasonKinds.includes(kind);
  if (kind === "missing") return photo.errorKind === "missing";
  if (kind === "unreadable") return photo.error !== null && photo.errorKind !== "missing";
  if (photo.error !== null || photo.waived.length) return false;
  if (kind === "kind is graphic") return photo.kind === "graphic";
  return kind.startsWith("tone is ") ? "tone is " + photo.tone === kind : photo.bin < lineBin;
}

/** The colorfulness of a photo as text, truncated to two decimals. */
const mOf = (photo) => (photo.numbers.find(([name]) => name === "colorfulness") ?? ["", "?"])[1];

/** Photos of the sample that only the threshold decides on, below and above it; the closest first. */
function sides(page, lineBin, keep) {
  const decided = page.photos.filter((photo) =>
    photo.bin >= 0 && !photo.blocked && !photo.waived.length && isKept({ name: photo.tone, graphic: photo.kind === "graphic" }, keep));
  const distance = (photo) => Math.abs(photo.m - lineBin / page.binsPerM);
  const nearest = (side) => decided.filter(side).sort((one, other) => distance(one) - distance(other));
  return { below: nearest((photo) => photo.bin < lineBin), above: nearest((photo) => photo.bin >= lineBin) };
}

const lessColorful = (one, other) => one.m - other.m;

/** All photos, in an order in which any first part is spread evenly over colorfulness. */
function spread(photos) {
  const byM = [...photos].sort(lessColorful);
  const order = [];
  const taken = new Array(byM.length).fill(false);
  const take = (place) => {
    if (!taken[place]) order.push(byM[place]);
    taken[place] = true;
  };
  for (let pieces = 1; order.length < byM.length; pieces *= 2) {
    for (let i = 0; i <= pieces; i++) take(Math.round((i / pieces) * (byM.length - 1)));
  }
  return order;
}

/** Number of photos in each bar of width `mPerBar`, from 0 to `extentM`; the last bar includes all higher values. */
function barsOf(binLists, binsPerM, mPerBar, extentM) {
  const bars = new Array(Math.ceil(extentM / mPerBar)).fill(0);
  for (const bins of binLists) {
    bins.forEach((count, bin) => { bars[Math.min(bars.length - 1, Math.floor(bin / (binsPerM * mPerBar)))] += count; });
  }
  return bars;
}

/** The highest colorfulness of the histogram: above the last level, the first threshold and 99 % of the photos. */
function extentOf(page) {
  const above = (bin) => [page.blockedTails, page.listedTails, ...page.tones.map((tone) => tone.tails)]
    .reduce((sum, sums) => sum + atLeast(sums, bin), 0);
  const few = above(0) / 100;
  let extentM = Math.max(120, Math.ceil(page.lineBin / page.binsPerM / 10) * 10 + 10);
  while (above(extentM * page.binsPerM) > few) extentM += 10;
  return extentM;
}

/** The count at full height: that of the highest bar except the first (gray photos) and the last (all higher values). */
const fullHeight = (bars) => 1.1 * (Math.max(...bars.slice(1, -1)) || Math.max(...bars));

/** The row of each label, from 0, so that none overlaps another. */
function labelRows(labels) {
  const ends = [];
  return labels.map(({ left, width }) => {
    const free = ends.findIndex((end) => left >= end);
    const row = free < 0 ? ends.length : free;
    ends[row] = left + width;
    return row;
  });
}

/** An SVG path of bars, each one unit wide, in a box of this height. */
function barsPath(bars, highest, height) {
  return bars.map((count, i) => {
    const tall = Math.min(height, (count / highest) * height);
    return count ? `M${i + 0.1} ${height}v${-Math.max(tall, 0.6)}h0.8V${height}z` : "";
  }).join("");
}

/** Number of kept photos in each sector of the hue wheel. */
function hueCounts(page, lineBin, keep) {
  const sectors = Math.max(0, ...page.tones.map((tone) => tone.hues.length));
  return Array.from({ length: sectors }, (_, i) => page.tones.reduce(
    (sum, tone) => sum + (isKept(tone, keep) && tone.hueTails[i] ? atLeast(tone.hueTails[i], lineBin) : 0), 0));
}

/** The shortest run of sectors with at least half of the photos: {first, length}. */
function shortestHalf(counts) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  for (let length = 1; length <= counts.length; length++) {
    for (let first = 0; first < counts.length; first++) {
      let sum = 0;
      for (let i = 0; i < length; i++) sum += counts[(first + i) % counts.length];
      if (2 * sum >= total) return { first, length };
    }
  }
  return { first: 0, length: counts.length };
}

/** The common name of a CIELAB hue. */
function hueName(deg) {
  const names = [[15, "pink"], [45, "red"], [75, "orange"], [110, "yellow"], [165, "green"], [220, "teal"], [290, "blue"],
    [330, "violet"], [360, "pink"]];
  return names.find(([end]) => ((deg % 360) + 360) % 360 < end)[1];
}

/** The named hues, each with its sectors of the wheel and the direction of its middle. */
function hueGroups(sectors) {
  const groups = new Map();
  for (let i = 0; i < sectors; i++) {
    const name = hueName(((i + 0.5) * 360) / sectors);
    groups.set(name, [...(groups.get(name) ?? []), i]);
  }
  const middle = (own) => {
    const sum = (part) => own.reduce((total, i) => total + part(((i + 0.5) * 2 * Math.PI) / sectors), 0);
    return (Math.atan2(sum(Math.sin), sum(Math.cos)) * 180) / Math.PI;
  };
  return [...groups].map(([name, own]) => ({ name, sectors: own, middleDeg: middle(own) }));
}

/** An SVG path of a ring sector between two angles (degrees, counter-clockwise from the right) and two radii. */
function wedgePath(fromDeg, toDeg, inner, outer) {
  const point = (deg, radius) => {
    const angle = (-deg * Math.PI) / 180;
    return `${(radius * Math.cos(angle)).toFixed(2)} ${(radius * Math.sin(angle)).toFixed(2)}`;
  };
  return `M${point(fromDeg, inner)}L${point(fromDeg, outer)}A${outer} ${outer} 0 0 0 ${point(toDeg, outer)}` +
    `L${point(toDeg, inner)}A${inner} ${inner} 0 0 1 ${point(fromDeg, inner)}z`;
}

/** The text of one of a photo's other columns; null without it. */
const columnOf = (photo, column) => (photo.numbers.find(([name]) => name === column) ?? [null, null])[1];

/** The place of a photo, as `source` and `path` name it. */
const locationOf = (photo) => photo.source.replace(/\/+$/, "") + "/" + photo.path;

/** What identifies a photo among ticks, also in a later report; exact copies are ticked together, as the filter finds them. */
const tickKey = (photo) => columnOf(photo, "sha256") ?? locationOf(photo);

/** Whether a photo can be ticked: no list keeps a photo that can't be read. */
const canTick = (photo) => photo.error === null;

/** A list of photos for `curate filter`, in the form of `sha256sum`: the hash works for every name, in tars and of URLs. */
function tickList(photos, page) {
  const escaped = (text) => text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]/g, (sign) =>
    "\\x" + sign.charCodeAt(0).toString(16).padStart(2, "0"));
  const lines = photos.map((photo) => [columnOf(photo, "sha256"), escaped(locationOf(photo))].filter(Boolean).join("  "));
  return [
    `# Photos ticked in the report of ${escaped(page.name)}, for curate filter --reject-list or --keep-list.`,
    "# Each line has the sha256 of a photo, by which it is found, and where the photo was, for people.",
    ...lines,
  ].join("\n") + "\n";
}

/** The name of the file of ticked photos; it needs no quotes in a shell. */
const tickFileName = (page) =>
  page.name.replace(/\.parquet$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^-+/, "") + "-ticked.txt";

/** A count with thousands separators. */
const grouped = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, ",");

/** A percentage with one decimal. */
function percent(part, whole) {
  if (!whole) return "";
  const share = (100 * part) / whole;
  return (share > 0 && share < 0.1 ? "< 0.1" : share.toFixed(1)) + " %";
}
