// The token that a service may ask for: kept in this tab, sent to this service only.
import { part } from "/page/dom.js";
import { TEXTS } from "/page/texts.js";

const TOKEN = "token";

export function useToken(token) {
  if (token) sessionStorage.setItem(TOKEN, token);
  else sessionStorage.removeItem(TOKEN);
  part("known").hidden = !token;
}

export const hasToken = () => Boolean(sessionStorage.getItem(TOKEN));

export function authorization() {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

// The service wants a token, or another one.
export function askForToken(detail) {
  useToken("");
  part("result").replaceChildren();
  part("access").hidden = false;
  part("token-fault").textContent = detail;
  part("token").setAttribute("aria-invalid", "true");
}

// `again` asks what was refused.
export function offerAccess(again) {
  part("access").addEventListener("submit", (event) => {
    event.preventDefault();
    const input = part("token");
    // A header takes visible characters of ASCII only, and so do tokens.
    if (!/^[!-~]+$/.test(input.value.trim())) {
      askForToken(TEXTS.badToken);
      input.focus();
      return;
    }
    useToken(input.value.trim());
    input.value = "";
    input.removeAttribute("aria-invalid");
    part("access").hidden = true;
    again();
  });
  part("forget").addEventListener("click", () => useToken(""));
  useToken(sessionStorage.getItem(TOKEN));
}
