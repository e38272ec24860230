// The photos on the page: thumbnails, galleries, and buttons that choose what a gallery shows.

const FIRST_PHOTOS = 24;

const byId = (id) => document.getElementById(id);

/** A new element with a class and children (elements or text). */
function element(tag, className = "", ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** A gallery of photos. It keeps its tiles, so that moving the threshold decodes no thumbnail twice. */
class Gallery {
  static all = [];

  constructor(box, { first = FIRST_PHOTOS, sorted = false, bulk = true, empty = "No photos to show here." } = {}) {
    Gallery.all.push(this);
    this.box = box;
    this.first = first;
    this.limit = first;
    this.sorted = sorted;
    this.empty = empty;
    this.tiles = new Map();
    this.shown = [];
    this.more = button("more", () => this.showMore());
    this.bulk = button("more", () => setTicks(this.shown, !this.allTicked()));
    if (bulk) box.after(element("div", "actions", this.more, this.bulk));
    box.setAttribute("role", "group");
    box.addEventListener("keydown", (event) => this.move(event));
  }

  /** Show the first photos; a gallery that is not `fixed` has a button to show more. */
  show(photos, { fixed = false } = {}) {
    this.photos = photos;
    this.shown = this.sorted ? photos.slice(0, this.limit).sort(lessColorful) : photos.slice(0, this.limit);
    const { shown } = this;
    const cells = shown.map((photo) => this.cell(photo));
    this.box.replaceChildren(...(cells.length ? cells : [element("p", "quiet", this.empty)]));
    this.box.classList.toggle("entries", shown.length > 0 && shown.every((photo) => photo.error !== null));
    cells.forEach((cell, i) => setTabIndex(cell, i ? -1 : 0));
    syncBoxes(this.box);
    const left = photos.length - shown.length;
    this.more.textContent = `Show ${Math.min(left, 2 * this.first)} more`;
    this.more.hidden = !left || fixed;
    this.showBulk();
  }

  allTicked() {
    return this.shown.filter(canTick).every(isTicked);
  }

  /** Show what the button for all photos of the gallery does. */
  showBulk() {
    const count = this.shown.filter(canTick).length;
    this.bulk.hidden = count < 2;
    this.bulk.textContent = `${this.allTicked() ? "Untick" : "Tick"} all ${count} shown`;
  }

  showMore() {
    const next = this.limit;
    this.limit += 2 * this.first;
    this.show(this.photos);
    this.focus(next);
  }

  cell(photo) {
    if (!this.tiles.has(photo)) this.tiles.set(photo, this.newCell(photo));
    return this.tiles.get(photo);
  }

  newCell(photo) {
    const tile = photo.error === null
      ? element("button", "tile", picture(photo), element("span", "caption", mOf(photo)))
      : element("button", "entry", element("b", "", fileName(photo)), element("span", "quiet", errorText(photo)));
    tile.type = "button";
    tile.setAttribute("aria-label", `${photo.path}, ${photo.error ?? "colorfulness " + mOf(photo)}`);
    const aspect = photo.size ? photo.size[0] / photo.size[1] : 1.2;
    tile.addEventListener("click", () => openPhoto(this.shown, this.shown.indexOf(photo)));
    const cell = element("div", "cell", tile);
    if (canTick(photo)) cell.append(tickBox(photo));
    cell.style.setProperty("--aspect", Math.min(2.5, Math.max(0.5, aspect)));
    return cell;
  }

  /** Move the focus to a photo, or to its box. */
  focus(index, selector = "button") {
    const cells = [...this.box.children];
    cells.forEach((cell, i) => setTabIndex(cell, i === index ? 0 : -1));
    (cells[index]?.querySelector(selector) ?? cells[index]?.querySelector("button"))?.focus();
  }

  move(event) {
    const cells = [...this.box.children];
    const at = cells.findIndex((cell) => cell.contains(document.activeElement));
    if (at >= 0 && event.key.toLowerCase() === "t" && !event.ctrlKey && !event.metaKey && !event.altKey) {
      setTicks([this.shown[at]], !isTicked(this.shown[at]));
    }
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: cells.length - 1 }[event.key];
    if (at < 0 || to === undefined || !cells[to]) return;
    event.preventDefault();
    this.focus(to, document.activeElement.matches("input") ? "input" : "button");
  }
}

/** A button without text yet. */
function button(className, act) {
  const made = element("button", className);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

/** Only one photo of a gallery, and its box, is reached by Tab; arrow keys move on. */
function setTabIndex(cell, index) {
  for (const control of cell.querySelectorAll("button, input")) control.tabIndex = index;
}

const fileName = (photo) => photo.path.slice(photo.path.lastIndexOf("/") + 1);

/** The error without its kind, which the chip shows. */
const errorText = (photo) => photo.error.slice(photo.error.indexOf(":") + 1).trim();

/** The thumbnail of a photo, or a box with the reason why there is none. */
function picture(photo) {
  if (!photo.thumbnail) {
    const why = photo.error === null ? "No thumbnail: missing, changed or unreadable now" : photo.errorKind;
    return element("span", "placeholder", element("b", "", why), element("span", "", fileName(photo)));
  }
  const image = element("img");
  image.src = "data:image/jpeg;base64," + photo.thumbnail;
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
