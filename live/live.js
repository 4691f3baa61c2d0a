// Keeps the page of pulls up to date: it asks for what changed, and puts that in place.
// Whatever is put in comes escaped from the proxy, and the page's policy lets no other
// script run.
"use strict";

const PAUSE = 700; // milliseconds between two updates
const RETRY = 1500; // where the proxy does not answer
const PATIENCE = 15000; // for an answer
const OPENED = 3; // running pulls that are opened by themselves, at most
const OPEN_MAX = 20; // pulls of which the proxy renders the requests for one page

const main = document.getElementById("pulls");
const others = document.getElementById("others");
const state = document.getElementById("status");
const wanted = document.getElementById("wanted");
const failures = document.getElementById("failures");

let run = ""; // which start of the proxy the pulls are of
let version = 0;
let timer = 0;
let asking = false;
let again = false; // whether somebody wants to know more before the answer is there
let isEnded = false; // whether this page has to be opened anew
let gone = ""; // since when the proxy does not answer
const open = new Set(); // pulls of which the requests are shown
const stale = new Set(); // pulls that are to be rendered again
const unasked = new Set(); // pulls whose requests are shown though nobody asked for them
const met = new Set(); // pulls that were seen running
const shown = new Map(); // the HTML of each pull, by its number

function say(text, kind) {
  if (state.textContent !== text) state.textContent = text;
  state.className = `status-line ${kind}`;
}

function clock() {
  return new Date().toISOString().slice(11, 19);
}

function later(milliseconds) {
  clearTimeout(timer);
  timer = setTimeout(ask, milliseconds);
}

function askNow() {
  if (asking) again = true;
  else later(0);
}

async function ask() {
  if (document.hidden) {
    say("Paused while the page is hidden", "");
    return;
  }
  asking = true;
  let pause = RETRY;
  const asked = [...stale].slice(0, OPEN_MAX);
  for (const id of asked) stale.delete(id); // One that is asked for meanwhile stays.
  const isRest = stale.size > 0;
  try {
    const query = `after=${version}&open=${[...open].join(",")}&again=${asked.join(",")}`;
    const answer = await fetch(`/pulls/changes?${query}`, {
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE),
    });
    if (answer.status === 403) {
      // A proxy that was started anew has another token, so nothing will change here.
      isEnded = true;
      say("The proxy was started anew: open the address that its log names", "gone");
    }
    if (isEnded) return;
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const news = await answer.json();
    if (news.run === run || run === "") {
      update(news);
      pause = news.is_more || isRest ? 0 : PAUSE;
    } else {
      forget();
      pause = 0;
    }
    run = news.run;
    gone = "";
    say("Live", "live");
  } catch {
    for (const id of asked) stale.add(id);
    gone ||= clock();
    say(`The proxy has not answered since ${gone} UTC; looking for it`, "gone");
  } finally {
    asking = false;
    const isSoon = again;
    again = false;
    if (!isEnded) later(isSoon ? 0 : pause);
  }
}

function forget() {
  version = 0;
  shown.clear();
  for (const ids of [open, stale, unasked, met]) ids.clear();
  for (const card of main.querySelectorAll(".pull")) card.remove();
}

function update(news) {
  const place = reading();
  version = news.version;
  if (news.ids) {
    const left = new Set(news.ids);
    for (const id of [...shown.keys()]) {
      if (left.has(id)) continue;
      shown.delete(id);
      for (const ids of [open, stale, unasked, met]) ids.delete(id);
      find(id)?.remove();
    }
  }
  for (const { id, html } of news.cards) put(id, html);
  document.getElementById("totals").innerHTML = news.totals;
  if (news.others !== undefined) {
    document.getElementById("others-list").innerHTML = news.others;
    others.hidden = news.others.trim() === "";
  }
  document.getElementById("empty").hidden = shown.size > 0;
  filter();
  restore(place);
  if (!news.is_more) follow();
}

function find(id) {
  return document.getElementById(`pull-${id}`);
}

function put(id, html) {
  const before = find(id);
  if (before && shown.get(id) === html) return;
  if (before && isSelected(before)) {
    stale.add(id); // Nobody's selection is taken away; it comes with a later update.
    return;
  }
  const template = document.createElement("template");
  template.innerHTML = html;
  const card = template.content.firstElementChild;
  shown.set(id, html);
  if (before) {
    keep(before, card);
  } else {
    const next = [...main.querySelectorAll(".pull")].find(
      (each) => Number(each.id.slice(5)) < Number(id),
    );
    main.insertBefore(card, next ?? null);
  }
  if (card.classList.contains("bad") && before && !before.classList.contains("bad")) {
    const name = card.querySelector("h2").textContent.trim();
    document.getElementById("news").textContent = `No success: ${name}`;
  }
  if (card.classList.contains("going-on") && !met.has(id)) showRunning(id);
}

// Replaces a pull, and keeps what its reader did with it.
function keep(before, card) {
  const active = before.contains(document.activeElement) ? document.activeElement : null;
  const focus = active?.dataset.focus;
  const index = active ? [...before.querySelectorAll("a, summary, [tabindex]")].indexOf(active) : -1;
  const left = before.querySelector(".scroll")?.scrollLeft;
  const opened = [...before.querySelectorAll(".story")].map((each) => each.open);
  before.replaceWith(card);
  card.querySelector(".requests").open = open.has(card.id.slice(5));
  card.querySelectorAll(".story").forEach((each, index) => {
    each.open = opened[index] ?? false;
  });
  const scroll = card.querySelector(".scroll");
  if (scroll && left) scroll.scrollLeft = left;
  if (active) {
    const same = focus
      ? card.querySelector(`[data-focus="${focus}"]`)
      : card.querySelectorAll("a, summary, [tabindex]")[index];
    same?.focus({ preventScroll: true });
  }
}

function isSelected(card) {
  const selection = getSelection();
  return !selection.isCollapsed && card.contains(selection.anchorNode);
}

function show(id) {
  open.delete(id); // The latest one is the last.
  open.add(id);
  if (open.size > OPEN_MAX) close(open.values().next().value);
  askFor(id);
}

function close(id) {
  open.delete(id);
  unasked.delete(id);
  askFor(id);
}

// Has the proxy render the pull once more, though it may not have changed.
function askFor(id) {
  stale.add(id);
  askNow();
}

// Opens a pull that goes on, and closes those that were opened so and are over.
function showRunning(id) {
  for (const other of [...unasked]) {
    if (find(other)?.classList.contains("going-on")) continue;
    close(other);
  }
  met.add(id);
  if (unasked.size >= OPENED) return;
  unasked.add(id);
  show(id);
}

// Where the reader is: the first pull in the window, and how far down that stands.
function reading() {
  if (scrollY < 40) return null;
  for (const card of main.querySelectorAll(".pull:not([hidden])")) {
    const { bottom, top } = card.getBoundingClientRect();
    if (bottom > 0) return { id: card.id, top };
  }
  return null;
}

function restore(place) {
  const card = place && document.getElementById(place.id);
  if (card) scrollBy(0, card.getBoundingClientRect().top - place.top);
}

function filter() {
  const words = wanted.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const card of main.querySelectorAll(".pull")) {
    const text = card.dataset.text.toLowerCase();
    const fits =
      (!failures.checked || card.classList.contains("bad")) &&
      words.every((word) => text.includes(word));
    if (card.hidden === fits) card.hidden = !fits;
    count += fits;
  }
  const text = words.length || failures.checked ? `${count} of ${shown.size} shown` : "";
  const place = document.getElementById("shown");
  if (place.textContent !== text) place.textContent = text;
}

let followed = "";

// Goes to the pull that the page's address names, once it is there.
function follow() {
  const id = /^#pull-([0-9]+)$/.exec(location.hash)?.[1];
  if (!id || followed === location.hash || !find(id)) return;
  followed = location.hash;
  show(id);
  find(id).scrollIntoView();
}

main.addEventListener(
  "toggle",
  (event) => {
    const details = event.target;
    if (details.dataset.key !== "requests") return;
    const id = details.closest(".pull").id.slice(5);
    if (details.open === open.has(id)) return;
    unasked.delete(id);
    if (details.open) show(id);
    else open.delete(id);
  },
  true,
);
wanted.addEventListener("input", filter);
failures.addEventListener("change", filter);
document.querySelector(".filter").addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", () => {
  followed = "";
  follow();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) askNow();
});
ask();
