"use strict";
// Each slider is a range input, for the keyboard and for screen readers; mouse and touch set its value by position.
for (const pair of document.querySelectorAll(".pair")) {
  const input = pair.querySelector("input");
  const show = () => {
    pair.style.setProperty("--at", `${input.value}%`);
    input.setAttribute("aria-valuetext", `${Math.round(input.value)} % before, ${Math.round(100 - input.value)} % after`);
  };
  const moveTo = (event) => {
    const box = pair.getBoundingClientRect();
    input.value = (100 * (event.clientX - box.left)) / box.width;
    show();
  };
  input.addEventListener("input", show);
  pair.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pair.setPointerCapture(event.pointerId);
    event.preventDefault();
    input.focus({ preventScroll: true, focusVisible: false });
    moveTo(event);
  });
  pair.addEventListener("pointermove", (event) => {
    if (pair.hasPointerCapture(event.pointerId)) moveTo(event);
  });
  show();
}
document.documentElement.classList.add("sliding");
