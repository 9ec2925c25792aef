// The console's manners: keep the page fresh, ask in a dialog, and stay out of the way. Everything works without it.
"use strict";

const EVERY = 2000, WHILE_MOVING = 300, LOST_AFTER = 3;
const page = () => document.getElementById("page");
const dialog = document.getElementById("dialog");
const live = document.getElementById("live");
let paused = false, failed = 0, timer = 0, fetching = false;

// Bring `old` to what `fresh` says by the fewest changes, so that focus, selection and opened details stay.
function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.id !== fresh.id) return old.replaceWith(fresh);
  if (old.nodeType !== Node.ELEMENT_NODE) { old.data = fresh.data; return; }
  for (const { name } of [...old.attributes]) if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  const named = new Map([...old.children].filter((each) => each.id).map((each) => [each.id, each]));
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const known = wanted.id && named.get(wanted.id);
    if (known && known !== at) old.insertBefore(known, at);
    const here = known || at;
    if (!here) { old.append(wanted); continue; }
    const next = here.nextSibling;
    if (here.id && here.id !== wanted.id) { old.insertBefore(wanted, here); at = here; continue; }
    morph(here, wanted);
    at = next;
  }
  while (at) { const next = at.nextSibling; at.remove(); at = next; }
}

const parse = async (answer) => new DOMParser().parseFromString(await answer.text(), "text/html");

function show(fresh) {
  const wanted = fresh.getElementById("page");
  if (!wanted) { location.reload(); return; }
  morph(page(), wanted);
  const who = fresh.getElementById("who");
  if (who) morph(document.getElementById("who"), who);
  if (document.title !== fresh.title) document.title = fresh.title;
}

function say(text, state) {
  const shown = document.getElementById("live-text");
  if (shown.textContent !== text) shown.textContent = text;
  live.className = `live ${state}`;
}

async function refresh() {
  clearTimeout(timer);
  if (paused || fetching || document.hidden || !page()) return;
  fetching = true;
  try {
    const answer = await fetch("./", { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(5000) });
    if (answer.redirected && new URL(answer.url).pathname.endsWith("/sign-in")) { location.reload(); return; }
    if (!answer.ok) throw new Error(String(answer.status));
    show(await parse(answer));
    failed = 0;
    if (!paused) say("Live", "");
  } catch {
    if (++failed >= LOST_AFTER) say("The proxy does not answer; what is shown is old", "lost");
  } finally {
    fetching = false;
  }
  again();
}

function again() {
  clearTimeout(timer);
  if (!paused && page()) timer = setTimeout(refresh, "busy" in page().dataset ? WHILE_MOVING : EVERY * Math.min(1 + failed, 5));
}

// Put the form of another page into the dialog.
async function ask(address) {
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  if (!fill(await parse(answer))) location.assign(address);
}

function fill(fresh) {
  const found = fresh.getElementById("move") || fresh.getElementById("fault");
  if (!found) return false;
  // Another stage may be chosen, and its form arrive, while somebody types: the words and the place stay.
  const typed = dialog.open ? [...dialog.querySelectorAll("#by, #because")].filter((each) => each.value !== each.defaultValue) : [];
  const at = dialog.open && dialog.contains(document.activeElement) ? document.activeElement.id : "";
  dialog.replaceChildren(found);
  for (const { id, value } of typed) if (found.querySelector(`#${id}`)) found.querySelector(`#${id}`).value = value;
  if (!dialog.open) dialog.showModal();
  const field = at && found.querySelector(`.fields #${at}`);
  if (field) { field.focus(); return true; }
  dialog.scrollTop = 0;
  const title = dialog.querySelector("#move-title, h1");
  if (title) { title.tabIndex = -1; title.focus(); }
  return true;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  if (dialog && "dialog" in link.dataset) { event.preventDefault(); ask(link.href).catch(() => location.assign(link.href)); }
  else if (dialog && dialog.open && dialog.contains(link)) { event.preventDefault(); dialog.close(); }
});

document.addEventListener("submit", async (event) => {
  if (!dialog || !dialog.contains(event.target)) return;
  event.preventDefault();
  const form = event.target, button = form.querySelector(".primary");
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    const fresh = await parse(answer);
    if (fresh.getElementById("page")) { dialog.close(); show(fresh); again(); }
    else if (!fill(fresh)) location.reload();
  } catch {
    location.reload();
  }
});

if (page() && live) {
  live.hidden = false;
  document.getElementById("pause").addEventListener("click", (event) => {
    paused = !paused;
    event.target.textContent = paused ? "Go on" : "Pause";
    say(paused ? "Paused" : "Live", paused ? "paused" : "");
    if (!paused) refresh();
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  again();
}
