// Renders OpenAPI with Swagger UI in place of the table of routes, which stays where this cannot run.
/* global SwaggerUIBundle */
const place = document.getElementById("operations");
const dark = matchMedia("(prefers-color-scheme: dark)");

function follow() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

/** OpenAPI with the address that this model has here, and with the token where one is needed. */
async function openapi() {
  const answer = await fetch("openapi.json");
  if (!answer.ok) throw new Error(`openapi.json: ${answer.status}`);
  const spec = await answer.json();
  const folder = new URL(".", location.href).pathname;
  spec.servers = [{ url: folder.length > 1 ? folder.slice(0, -1) : "/" }];
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
