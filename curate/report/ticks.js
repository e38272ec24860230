// Ticked photos: the boxes on the thumbnails, the bar with their number, and the list of them for `curate filter`.

const TICKS_STORE = "vividset ticked photos of " + location.pathname;
const ticked = new Set();  // of tickKey

/** A box to tick a photo. */
function tickBox(photo) {
  const box = element("input");
  box.type = "checkbox";
  box.dataset.tick = tickKey(photo);
  box.setAttribute("aria-label", "Tick " + photo.path);
  box.addEventListener("change", () => setTicks([photo], box.checked));
  return element("label", "tick", box);
}

const isTicked = (photo) => ticked.has(tickKey(photo));

/** The ticked photos, in the order of the page's data. */
const tickedPhotos = () => page.photos.filter((photo) => canTick(photo) && isTicked(photo));

function setTicks(photos, on) {
  for (const photo of photos.filter(canTick)) ticked[on ? "add" : "delete"](tickKey(photo));
  try {
    localStorage.setItem(TICKS_STORE, JSON.stringify([...ticked]));
  } catch { /* the browser keeps nothing for this page: ticks last until it is closed */ }
  showTicks();
}

/** Restore the ticks of an earlier visit on photos that the page still shows. */
function restoreTicks() {
  const known = new Set(page.photos.filter(canTick).map(tickKey));
  try {
    for (const key of JSON.parse(localStorage.getItem(TICKS_STORE) ?? "[]")) if (known.has(key)) ticked.add(key);
  } catch { /* nothing is kept, or it is damaged */ }
}

/** Set the boxes of some tiles to the state of their photos. */
function syncBoxes(root) {
  for (const box of root.querySelectorAll("input[data-tick]")) box.checked = ticked.has(box.dataset.tick);
}

/** Show the ticks in all galleries, in the bar and in the section of the list. */
function showTicks() {
  syncBoxes(document);
  for (const gallery of Gallery.all) gallery.showBulk();
  const photos = tickedPhotos();
  const kept = photos.filter((photo) => !reasonsOf(photo, page, state.lineBin, state.keep).length).length;
  const split = `${grouped(kept)} kept, ${grouped(photos.length - kept)} rejected with this threshold and these tones`;
  byId("tick-count").replaceChildren(element("b", "", `${grouped(photos.length)} ticked`), element("span", "quiet", split));
  byId("tick-bar").hidden = !photos.length;
  document.body.classList.toggle("has-ticks", photos.length > 0);
  byId("tick-empty").hidden = photos.length > 0;
  byId("tick-list-parts").hidden = !photos.length;
  byId("tick-list").value = tickList(photos, page);
  showTickCommand();
  if (!tickGallery.box.contains(document.activeElement)) tickGallery.show(spread(photos));  // else unticking moves the focus
  if (byId("photo").open) showPhoto();
}

function showTickCommand() {
  const use = document.querySelector("input[name=tick-use]:checked").value;
  byId("tick-command").textContent = commandFor(page, state.lineBin, state.keep, [`--${use}-list`, tickFileName(page)]);
}

function downloadTicks() {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([byId("tick-list").value], { type: "text/plain" }));
  link.download = tickFileName(page);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

let tickGallery;

function initTicks() {
  tickGallery = new Gallery(byId("tick-photos"), { sorted: true, bulk: false, empty: "" });
  restoreTicks();
  for (const use of document.querySelectorAll("input[name=tick-use]")) use.addEventListener("change", showTickCommand);
  byId("tick-download").addEventListener("click", downloadTicks);
  byId("tick-clear").addEventListener("click", () => setTicks(tickedPhotos(), false));
  byId("photo-tick").addEventListener("change", (event) => setTicks([opened.photos[opened.index]], event.target.checked));
  initCopy(byId("tick-copy"), byId("tick-list"));
  initCopy(byId("tick-command-copy"), byId("tick-command"));
}
