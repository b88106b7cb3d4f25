/* What people's pages do beyond HTML and htmx. No build step, no handlers in the markup.

   data-theme-choice="light|dark|system"   remembers the theme
   data-open="id", data-close              opens and closes a <dialog>
   dialog[data-modal]                      is shown as a modal when it arrives open
   data-copy="#id"                         copies that element's text or value
   data-print                              prints the page
   data-dismiss                            removes the notice it stands in
   time[data-as="ago|clock|time|day|moment"]     is told in the reader's own zone
   output[data-of="id"], data-count="id"   shows a range's value, counts a text's characters
   video, img[data-again="url"]            when its link has grown old, is fetched again with a new one
   form[data-once]                         is sent once, however often the button is pressed
   form[data-forgets]                      when it is sent, every draft is gone from this browser
   body[data-person]                       whose drafts may stay in this browser */
(function () {
  "use strict";
  var root = document.documentElement;

  function all(selector, within) { return Array.prototype.slice.call((within || document).querySelectorAll(selector)); }

  /* Theme */
  function showTheme() {
    var now = root.dataset.theme || "system";
    all("[data-theme-choice]").forEach(function (button) {
      button.setAttribute("aria-pressed", String(button.dataset.themeChoice === now));
    });
  }
  function chooseTheme(theme) {
    if (theme === "system") delete root.dataset.theme; else root.dataset.theme = theme;
    try {
      if (theme === "system") localStorage.removeItem("theme"); else localStorage.setItem("theme", theme);
    } catch (refused) { /* it holds for this page only */ }
    showTheme();
  }

  /* Drafts of tools, which studio/page.js keeps: each is of one person, or of nobody, who was not signed in */
  function forgetDrafts(isForgotten) {
    try {
      Object.keys(localStorage).forEach(function (key) {
        if (key.indexOf("studio draft ") !== 0) return;
        var found = /^studio draft of (\w+): /.exec(key);
        if (isForgotten(found ? found[1] : "")) localStorage.removeItem(key);
      });
    } catch (refused) { /* storage is off: nothing was kept */ }
  }
  function forgetOthers() {
    var person = document.body.dataset.person;
    forgetDrafts(function (whose) { return !whose || (person && whose !== person && whose !== "nobody"); });
  }

  /* Times: the server writes UTC, the reader sees their own clock; the title keeps the exact moment. */
  var units = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];
  var formats = {
    clock: { hour: "2-digit", minute: "2-digit" },
    time: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
    day: { day: "numeric", month: "short", year: "numeric" },
    moment: { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" }
  };
  function ago(then) {
    var seconds = Math.round((then - Date.now()) / 1000);
    for (var i = 0; i < units.length; i += 1) {
      if (Math.abs(seconds) >= units[i][1]) {
        return new Intl.RelativeTimeFormat("en-GB", { numeric: "auto" }).format(Math.trunc(seconds / units[i][1]), units[i][0]);
      }
    }
    return seconds > 0 ? "in less than a minute" : "just now";
  }
  function tellTimes(within) {
    all("time[data-as]", within).forEach(function (element) {
      var then = new Date(element.dateTime);
      if (isNaN(then)) return;
      if (!element.title) element.title = then.toLocaleString("en-GB", { dateStyle: "full", timeStyle: "long" });
      element.textContent = element.dataset.as === "ago" ? ago(then) : then.toLocaleString("en-GB", formats[element.dataset.as] || formats.moment);
    });
  }

  /* Dialogs */
  function raise(within) {
    all("dialog[data-modal][open]", within).forEach(function (dialog) {
      if (dialog.matches(":modal")) return;
      dialog.removeAttribute("open");
      dialog.showModal();
    });
  }

  /* Toasts: what went wrong between this page and the server, said once */
  function say(text, kind) {
    var region = document.getElementById("toasts");
    var model = document.getElementById("toast");
    if (!region || !model) return;
    if (all(".body", region).some(function (body) { return body.textContent === text; })) return;
    var toast = model.content.firstElementChild.cloneNode(true);
    toast.classList.add(kind || "bad");
    toast.querySelector(".body").textContent = text;
    region.append(toast);
    setTimeout(function () { toast.remove(); }, 9000);
  }

  /* The purse */
  var lastAvailable = null;
  function purse() { return document.getElementById("purse"); }
  function watchPurse() {
    var element = purse();
    if (!element || element.dataset.available === undefined) return;
    if (lastAvailable !== null && lastAvailable !== element.dataset.available) element.classList.add("changed");
    lastAvailable = element.dataset.available;
  }
  function staleness(isStale) {
    var element = purse();
    if (!element) return;
    element.classList.toggle("stale", isStale);
    if (isStale) element.title = "Not up to date: the server did not answer"; else element.removeAttribute("title");
  }

  function counts(within) {
    all("[data-count]", within).forEach(function (element) {
      var text = document.getElementById(element.dataset.count);
      if (!text) return;
      var left = text.maxLength > 0 ? text.maxLength - Array.from(text.value).length : 0;
      element.textContent = left < 200 ? left + " left" : "";
    });
    all("output[data-of]", within).forEach(function (element) {
      var range = document.getElementById(element.dataset.of);
      if (range) element.textContent = range.value + (element.dataset.unit || "");
    });
  }

  document.addEventListener("click", function (event) {
    var target = event.target.closest("[data-theme-choice],[data-open],[data-close],[data-copy],[data-dismiss],[data-print]");
    all("details.menu[open]").forEach(function (menu) { if (!menu.contains(event.target)) menu.open = false; });
    if (event.target instanceof HTMLDialogElement && event.target.matches("dialog.modal:modal")) {
      var box = event.target.getBoundingClientRect();
      var isOutside = event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
      if (isOutside) event.target.close();
    }
    if (!target) return;
    if (target.dataset.themeChoice) chooseTheme(target.dataset.themeChoice);
    if (target.dataset.open) {
      var dialog = document.getElementById(target.dataset.open);
      if (dialog) { event.preventDefault(); dialog.showModal(); }
    }
    if ("close" in target.dataset) {
      var open = target.closest("dialog");
      if (open) { event.preventDefault(); open.close(); }
    }
    if ("print" in target.dataset) window.print();
    if ("dismiss" in target.dataset) target.closest(".notice").remove();
    if (target.dataset.copy) {
      var source = document.querySelector(target.dataset.copy);
      var text = source ? ("value" in source ? source.value : source.innerText).trim() : "";
      var label = target.querySelector("[data-label]") || target;
      var before = label.textContent;
      navigator.clipboard.writeText(text).then(
        function () { label.textContent = "Copied"; setTimeout(function () { label.textContent = before; }, 2000); },
        function () { if (source.select) source.select(); say("Your browser did not allow copying. Select the text and copy it yourself.", "wait"); }
      );
    }
  });
  document.addEventListener("keydown", function (event) {
    if (event.key !== "Escape") return;
    all("details.menu[open]").forEach(function (menu) { menu.open = false; menu.querySelector("summary").focus(); });
  });
  document.addEventListener("input", function () { counts(); });
  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (form.matches("form[data-forgets]")) {
      document.dispatchEvent(new Event("forgotten"));
      forgetDrafts(function () { return true; });
    }
    if (!form.matches("form[data-once]") || event.defaultPrevented) return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "yes";
    setTimeout(function () { delete form.dataset.sent; }, 8000);
  });

  /* A film or picture whose link lasted for less than the page was open; once a minute, so that what is broken stays broken */
  var lastAgain = 0;
  document.addEventListener("error", function (event) {
    var film = event.target;
    if (!(film instanceof HTMLElement) || !film.dataset.again || !window.htmx || Date.now() - lastAgain < 60000) return;
    lastAgain = Date.now();
    window.htmx.ajax("GET", film.dataset.again, { target: "#generation", swap: "outerHTML" });
  }, true);

  /* htmx: polls rest while nobody looks, and say so when the server does not answer */
  document.addEventListener("htmx:beforeRequest", function (event) {
    var isPoll = !event.detail.requestConfig.triggeringEvent;
    if (document.hidden && isPoll) event.preventDefault();
  });
  document.addEventListener("visibilitychange", function () {
    if (!document.hidden && window.htmx) window.htmx.trigger(document.body, "purse");
  });
  document.addEventListener("htmx:load", function (event) {
    tellTimes(event.detail.elt.parentNode || document);
    raise();
    counts();
    watchPurse();
  });
  document.addEventListener("htmx:afterRequest", function (event) {
    if (event.detail.elt.id === "purse") staleness(!event.detail.successful);
  });
  ["htmx:sendError", "htmx:timeout", "htmx:responseError"].forEach(function (name) {
    document.addEventListener(name, function (event) {
      if (event.detail.elt.id === "purse") { staleness(true); return; }
      if (event.detail.xhr && event.detail.xhr.status === 429) say("That was very fast. Wait a moment and try again.", "wait");
      else say("The server did not answer. What you see may be out of date.");
    });
  });

  function start() {
    forgetOthers();
    showTheme();
    tellTimes();
    raise();
    counts();
    watchPurse();
    setInterval(function () { tellTimes(); }, 30000);
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start); else start();
})();
