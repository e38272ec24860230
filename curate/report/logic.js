"use strict";
// What the page computes, as pure functions: nothing here knows the document.
// A bin is a tenth of M (1 / binsPerM); the line stands on the lower edge of bin `lineBin` and keeps that bin and above.

/** Entry k: how many photos are in bin k and above. */
function tails(bins) {
  const sums = new Array(bins.length).fill(0);
  let sum = 0;
  for (let k = bins.length - 1; k >= 0; k--) sums[k] = sum += bins[k];
  return sums;
}

/** How many photos are in `bin` and above, from `tails`. */
const atLeast = (sums, bin) => (bin < sums.length ? sums[bin] : 0);

/** The manifest's numbers with the sums that a moving line needs. */
function prepared(data) {
  const tones = data.tones.map((tone) => ({ ...tone, tails: tails(tone.bins), hueTails: tone.hues.map(tails) }));
  return { ...data, tones: tones, blockedTails: tails(data.blocked) };
}

/** Names of the tones that are kept at first; null is a photo without a tone, which no rule drops. */
const toneNamesKept = (tones) => tones.filter((tone) => tone.kept).map((tone) => tone.name);

/** How many photos the line and the kept tones keep. */
function keptCount(page, lineBin, keep) {
  return page.tones.reduce((sum, tone) => sum + (keep.has(tone.name) ? atLeast(tone.tails, lineBin) : 0), 0);
}

/** How many photos of the kept tones the line alone drops. */
function belowCount(page, lineBin, keep) {
  return page.tones.reduce(
    (sum, tone) => sum + (keep.has(tone.name) ? atLeast(tone.tails, 0) - atLeast(tone.tails, lineBin) : 0), 0);
}

/** Reasons and how many photos have each: as the filter wrote them, or as the line and the tones stand. */
function reasonCounts(page, lineBin, keep) {
  if (page.reasons.length) return page.reasons;
  const measured = page.tones.reduce((sum, tone) => sum + atLeast(tone.tails, 0) - atLeast(tone.tails, lineBin), 0);
  const counts = [{ name: "colorfulness < " + lineText(lineBin, page.binsPerM), photos: measured }];
  for (const tone of page.tones) {
    if (!keep.has(tone.name)) counts.push({ name: "tone is " + tone.name, photos: tone.photos });
  }
  counts.push({ name: "unreadable", photos: page.unreadable - page.missing });
  counts.push({ name: "missing", photos: page.missing });
  return counts.filter((reason) => reason.photos > 0);
}

/** A bin's lower edge as one types it: 20 or 20.3. */
const lineText = (lineBin, binsPerM) => String(lineBin / binsPerM);

/** The bin whose lower edge is nearest to an M, within 0 and `lastBin`. */
function nearestBin(m, binsPerM, lastBin) {
  const bin = Math.round(m * binsPerM);
  return Number.isNaN(bin) ? 0 : Math.min(lastBin, Math.max(0, bin));
}

/** The filter's command for a line and tones; `before` and `after` come quoted. */
function commandFor(page, lineBin, keep) {
  const words = [page.command.before, "--min-colorfulness", lineText(lineBin, page.binsPerM)];
  for (const tone of page.tones) {
    if (tone.name !== null && tone.name !== "color" && keep.has(tone.name)) words.push("--keep-tone", tone.name);
  }
  return [...words, page.command.after].join(" ");
}

/** The paper's word for a colourfulness. */
function levelAt(levels, m) {
  return levels.reduce((word, [lowest, name]) => (m >= lowest ? name : word), levels[0][1]);
}

/** Why a photo is dropped, in the filter's words; empty where it is kept. */
function reasonsOf(photo, page, lineBin, keep) {
  if (photo.errorKind === "missing") return ["missing"];
  if (photo.error !== null) return ["unreadable: " + photo.error];
  const others = photo.blocked ? photo.reasons.filter((reason) => !/^(colorfulness \S+ <|tone is) /.test(reason)) : [];
  const line = photo.bin < lineBin ? ["colorfulness " + mOf(photo) + " < " + lineText(lineBin, page.binsPerM)] : [];
  const tone = keep.has(photo.tone) ? [] : ["tone is " + photo.tone];
  return [...line, ...tone, ...others];
}

/** Whether a photo of the sample has a reason, by the reason's kind. */
function hasReason(photo, kind, page, lineBin, keep) {
  if (page.reasons.length) return photo.reasonKinds.includes(kind);
  if (kind === "missing") return photo.errorKind === "missing";
  if (kind === "unreadable") return photo.error !== null && photo.errorKind !== "missing";
  if (photo.error !== null) return false;
  return kind.startsWith("tone is ") ? "tone is " + photo.tone === kind : photo.bin < lineBin;
}

/** M as the manifest has it, cut to two decimals. */
const mOf = (photo) => (photo.numbers.find(([name]) => name === "colorfulness") ?? ["", "?"])[1];

/** The sample's photos that nothing but the line decides, split by it; nearest to the line first. */
function sides(page, lineBin, keep) {
  const decided = page.photos.filter((photo) => photo.bin >= 0 && !photo.blocked && keep.has(photo.tone));
  const distance = (photo) => Math.abs(photo.m - lineBin / page.binsPerM);
  const nearest = (side) => decided.filter(side).sort((one, other) => distance(one) - distance(other));
  return { below: nearest((photo) => photo.bin < lineBin), above: nearest((photo) => photo.bin >= lineBin) };
}

const lessColourful = (one, other) => one.m - other.m;

/** All photos, so ordered that any first few of them are spread evenly over colourfulness. */
function spread(photos) {
  const byM = [...photos].sort(lessColourful);
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

/** Photos in each bar of `mPerBar`, from 0 to `extentM`; the last bar has all that are more colourful, too. */
function barsOf(binLists, binsPerM, mPerBar, extentM) {
  const bars = new Array(Math.ceil(extentM / mPerBar)).fill(0);
  for (const bins of binLists) {
    bins.forEach((count, bin) => { bars[Math.min(bars.length - 1, Math.floor(bin / (binsPerM * mPerBar)))] += count; });
  }
  return bars;
}

/** The highest M that the histogram shows: past the paper's last level, past the line, and past all but one in 100. */
function extentOf(page) {
  const above = (bin) => [page.blockedTails, ...page.tones.map((tone) => tone.tails)]
    .reduce((sum, sums) => sum + atLeast(sums, bin), 0);
  const few = above(0) / 100;
  let extentM = Math.max(120, Math.ceil(page.lineBin / page.binsPerM / 10) * 10 + 10);
  while (above(extentM * page.binsPerM) > few) extentM += 10;
  return extentM;
}

/** The count that fills the plot: the highest bar's, leaving out the gray photos' and what is gathered at the end. */
const fullHeight = (bars) => 1.1 * (Math.max(...bars.slice(1, -1)) || Math.max(...bars));

/** An SVG path of bars, one unit wide each, in a box `height` high. */
function barsPath(bars, highest, height) {
  return bars.map((count, i) => {
    const tall = Math.min(height, (count / highest) * height);
    return count ? `M${i + 0.1} ${height}v${-Math.max(tall, 0.6)}h0.8V${height}z` : "";
  }).join("");
}

/** Kept photos in each sector of the hue wheel. */
function hueCounts(page, lineBin, keep) {
  const sectors = Math.max(0, ...page.tones.map((tone) => tone.hues.length));
  return Array.from({ length: sectors }, (_, i) => page.tones.reduce(
    (sum, tone) => sum + (keep.has(tone.name) && tone.hueTails[i] ? atLeast(tone.hueTails[i], lineBin) : 0), 0));
}

/** The shortest run of sectors that holds at least half of all: {first, length}. */
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

/** An everyday name for a CIELAB hue. */
function hueName(deg) {
  const names = [[15, "pink"], [45, "red"], [75, "orange"], [110, "yellow"], [165, "green"], [220, "teal"], [290, "blue"],
    [330, "violet"], [360, "pink"]];
  return names.find(([end]) => ((deg % 360) + 360) % 360 < end)[1];
}

/** The named hues with the wheel's sectors that belong to each, and the direction of their middle. */
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

/** An SVG path of a ring's piece between two angles (degrees, counter-clockwise from the right) and two radii. */
function wedgePath(fromDeg, toDeg, inner, outer) {
  const point = (deg, radius) => {
    const angle = (-deg * Math.PI) / 180;
    return `${(radius * Math.cos(angle)).toFixed(2)} ${(radius * Math.sin(angle)).toFixed(2)}`;
  };
  return `M${point(fromDeg, inner)}L${point(fromDeg, outer)}A${outer} ${outer} 0 0 0 ${point(toDeg, outer)}` +
    `L${point(toDeg, inner)}A${inner} ${inner} 0 0 1 ${point(fromDeg, inner)}z`;
}

/** A count with its thousands set off. */
const grouped = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, ",");

/** A share of a whole, with one decimal where it tells. */
function percent(part, whole) {
  if (!whole) return "";
  const share = (100 * part) / whole;
  return (share > 0 && share < 0.1 ? "< 0.1" : share.toFixed(1)) + " %";
}
