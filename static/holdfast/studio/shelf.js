/* The list of tools follows what is typed and chosen, at once; the address keeps it. */
const form = document.getElementById("shelf");
const cards = [...document.querySelectorAll("[data-words]")];
const prices = { free: 0, 5: 5, 25: 25, 100: 100 };

function follow() {
  const asked = new FormData(form);
  const words = asked.get("q").toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const card of cards) {
    const of = card.dataset;
    const isAsked = words.every(word => of.words.includes(word))
      && ["", of.of].includes(asked.get("studio")) && ["", of.mode].includes(asked.get("mode"))
      && ["", of.state].includes(asked.get("is"))
      && (!(asked.get("price") in prices) || Number(of.max) <= prices[asked.get("price")]);
    card.hidden = !isAsked;
    found += isAsked;
  }
  for (const section of document.querySelectorAll("[data-studio]")) section.hidden = !section.querySelector("[data-words]:not([hidden])");
  document.querySelector("#found .n").textContent = found;
  document.getElementById("none").hidden = found > 0;
  const kept = new URLSearchParams([...asked].filter(([, value]) => value));
  history.replaceState(null, "", kept.size ? "?" + kept : location.pathname);
}

form.addEventListener("input", follow);
form.addEventListener("submit", event => { event.preventDefault(); follow(); });
