// Elements of the page: texts only, never HTML.
export function element(tag, { text, ...attributes } = {}) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Fills in what index.html leaves to TEXTS.
export function tell({ language, page }) {
  document.documentElement.lang = language;
  for (const one of document.querySelectorAll("[data-text]")) one.textContent = page[one.dataset.text];
  for (const one of document.querySelectorAll("[data-label]")) one.setAttribute("aria-label", page[one.dataset.label]);
}

export const part = (id) => document.getElementById(id);

// A telephone, as in style.css: less is unfolded there.
export const NARROW = matchMedia("(max-width: 30rem)");

// The one live region: one sentence for whoever hears the page.
export function say(sentence) {
  part("said").textContent = sentence;
}
