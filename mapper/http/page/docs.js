// Renders OpenAPI with Swagger UI in place of the table of routes, which stays where this cannot run.
/* global SwaggerUIBundle */
const place = document.getElementById("operations");
const dark = matchMedia("(prefers-color-scheme: dark)");

function follow() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

/** OpenAPI with its address as a path, for it is not given as a URL, and with the token where one is needed. */
async function openapi() {
  const answer = await fetch("openapi.json");
  if (!answer.ok) throw new Error(`openapi.json: ${answer.status}`);
  const spec = await answer.json();
  const address = new URL(spec.servers?.[0].url ?? ".", answer.url).pathname;
  spec.servers = [{ url: address.replace(/(.)\/$/, "$1") }];
  if ("token" in place.dataset) {
    spec.components.securitySchemes = { token: { type: "http", scheme: "bearer" } };
    spec.security = [{ token: [] }];
  }
  return spec;
}

/** Whoever came for a part of the page, such as an error's, sees it although the page has grown. */
function scrollToPart() {
  document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

follow();
dark.addEventListener("change", follow);
SwaggerUIBundle({
  spec: await openapi(),
  domNode: place,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
  onComplete: scrollToPart,
});
